"""Streaming reader of JUnit XML in all its dialects, in memory that doesn't grow with the file."""

from collections.abc import Iterator
from typing import BinaryIO, Final

from service.domain.statuses import ResultStatus, states_failure
from service.ingest.contract import ResultIn
from service.reports.conversion.attachments import Attachment
from service.reports.conversion.attempts import MAX_ATTEMPTS, RepeatsInSuite
from service.reports.conversion.metadata import COUNT_OF, FAILURE_COUNTS, ReportMetadata
from service.reports.conversion.output import BoundedText, output_of, output_text, set_output
from service.reports.conversion.times import timestamp
from service.reports.formats.junit.cases import (
    JUnitCase,
    JUnitElement,
    JUnitSuite,
    add_failing_step,
    add_file_of_traceback,
    is_playwright,
    is_pytest,
    repeats_adjacent_cases,
    repeats_cases,
    result_of,
    suite_level_result,
)
from service.reports.formats.junit.repeats import AdjacentRepeats
from service.reports.formats.junit.statuses import (
    OF_EXECUTIONS,
    STATUS_OF,
    UnknownElements,
    states_pass,
    usual_tag,
    usual_tag_in_case,
)
from service.reports.streams.xml import XmlAttributes, XmlReader, read_xml

_MARKER_START: Final = "[[ATTACHMENT|"
_MARKER_END: Final = "]]"
_MAX_PATH: Final = 4_096
_SUITES: Final = frozenset({"testsuites", "testsuite"})
_SUITE_LEVEL: Final = frozenset({"error", "failure"})
_DECLARED: Final = {name: name for name in ("tests", "failures", "errors", "skipped")} | {"skips": "skipped"}
_REPEATABLE: Final = (*OF_EXECUTIONS, "skip")
_PATH_ATTRIBUTES: Final = ("path", "file", "href", "url", "uri", "src", "source")
# The state of an open element; None if the element has no meaning here.
_OpenElement = JUnitSuite | JUnitCase | JUnitElement | BoundedText


def read(source: BinaryIO, metadata: ReportMetadata) -> Iterator[list[ResultIn]]:
    """Yield the results in lists of bounded size. Raises ReportError if the file isn't well-formed JUnit XML."""
    for results in read_xml(source, _JUnitReader, metadata):
        for result in results:
            if "failure" in result:
                add_file_of_traceback(result, metadata.checkout)
        yield results


class _JUnitReader(XmlReader):
    """The handlers of the elements of JUnit XML."""

    def __init__(self, metadata: ReportMetadata, encoding: str) -> None:
        super().__init__(metadata, encoding, _SUITES, "JUnit XML")
        self._unreadable = metadata.unreadable
        self._suites = [JUnitSuite({}, checkout=metadata.checkout)]
        self._case: JUnitCase | None = None
        self._scanner = MarkerScanner()
        self._output = metadata.output
        self._output_text = BoundedText()  # of the open output
        self._playwright = self._root_has_time = False
        self._declared_by_root: set[str] = set()  # names of counts
        self._case_count = self._top_suites = 0
        self._not_passed = 0  # number of results
        self._unknown = UnknownElements()
        self._openers = {
            "testcase": self._open_case,
            "testsuites": self._open_root,
            "testsuite": self._open_suite,
            "property": self._open_property,
            "attachment": self._open_attachment,
            **dict.fromkeys(STATUS_OF, self._open_outcome),
            **dict.fromkeys(("system-out", "system-err"), self._open_output),
        }
        self._closers = {
            "testcase": self._close_case,
            "testsuites": self._ignore,
            "testsuite": self._close_suite,
            "property": self._close_property,
            "attachment": self._close_attachment,
            **dict.fromkeys(STATUS_OF, self._close_outcome),
            **dict.fromkeys(("system-out", "system-err"), self._pop_text_handler),
        }

    def finish(self) -> list[ResultIn]:
        """End the document, and return the remaining results."""
        results = super().finish()
        self._metadata.counted["tests"] = self._case_count
        self._metadata.notes += self._unknown.notes
        self._write_suite_output(self._suites[0])
        return results

    def _open_root(self, _tag: str, attributes: XmlAttributes) -> JUnitSuite:
        root = self._suites[0]
        self._playwright = is_playwright(attributes)
        root.is_of_pytest = is_pytest(attributes)
        duration_ms = self._add_times(attributes)
        if not self._open:
            self._root_has_time = duration_ms is not None
            self._metadata.times.set_duration(duration_ms)
        self._declared_by_root = set()
        self._declare_counts(attributes)
        self._declared_by_root = {
            count_name for name, count_name in _DECLARED.items() if _count(attributes, name) is not None
        }
        return root

    def _open_suite(self, _tag: str, attributes: XmlAttributes) -> JUnitSuite:
        project = attributes.get("hostname") if self._playwright else None
        suite = JUnitSuite(attributes, self._suites[-1], project)
        suite.is_of_pytest |= is_pytest(attributes)
        if repeats_adjacent_cases(attributes):
            suite.expect_repeats(AdjacentRepeats)
        if len(self._suites) == 1:
            self._declare_counts(attributes)
        self._metadata.declares_failures |= any(_count(attributes, name) for name in FAILURE_COUNTS)
        duration_ms = self._add_times(attributes)
        if len(self._suites) == 1 and not self._root_has_time:
            self._top_suites += 1
            # The only suite is the root. The durations of several suites can overlap.
            self._metadata.times.set_duration(duration_ms if self._top_suites == 1 else None)
        suite.not_passed = self._not_passed
        self._suites.append(suite)
        return suite

    def _close_suite(self, suite: JUnitSuite) -> None:
        self._suites.pop()
        self._results.extend(suite.repeats.flush() if suite.repeats else ())
        self._write_suite_output(suite)

    def _write_suite_output(self, suite: JUnitSuite) -> None:
        """Write the output of a suite if it contains a result that didn't pass."""
        if suite.outputs and self._not_passed > suite.not_passed:
            self._output.add_suite(suite.label(None), _named(suite.outputs))

    def _add_times(self, attributes: XmlAttributes) -> float | None:
        """Add the times of a suite to the times of the run, and return the duration of the suite."""
        duration_ms = self._seconds(attributes.get("time"))
        self._metadata.times.add(timestamp(attributes.get("timestamp")), duration_ms)
        return duration_ms

    def _declare_counts(self, attributes: XmlAttributes) -> None:
        for name, count_name in _DECLARED.items():
            number = _count(attributes, name)
            if number is not None and count_name not in self._declared_by_root:
                self._metadata.declare(count_name, number)

    def _open_case(self, _tag: str, attributes: XmlAttributes) -> JUnitCase:
        self._case = case = JUnitCase(attributes, self._suites[-1])
        return case

    def _close_case(self, case: JUnitCase) -> None:
        self._case = None
        self._case_count += 1
        result = result_of(case, self._unreadable)
        if result["status"] != "passed":
            self._metadata.counted[COUNT_OF.get(result["status"], "other")] += 1
            self._metadata.contains_failures |= states_failure(result["status"])
            self._not_passed += 1
            if case.outputs:
                if states_failure(result["status"]):
                    add_failing_step(result, case.outputs.values())
                heading = f"{result['suite']} {result['name']}"
                set_output(result, [*output_of(result), *self._output.add(heading, _named(case.outputs))])
        if case.outcomes:
            self._count_executions(case.outcomes, result["status"])
        repeats = case.suite.repeats
        if repeats is None:
            self._results.append(result)
        else:
            self._results.extend(repeats.add(result))

    def _count_executions(self, outcomes: list[JUnitElement], status: ResultStatus) -> None:
        """Count the outcomes of a case in addition to the one that decides its status."""
        executions = self._metadata.executions
        for outcome in outcomes:
            executions[COUNT_OF.get(outcome.status, "other")] += 1
            executions["tests"] += outcome.tag.startswith(OF_EXECUTIONS)
        if any(outcome.status == status for outcome in outcomes):
            executions[COUNT_OF.get(status, "other")] -= 1

    def _open_outcome(self, tag: str, attributes: XmlAttributes) -> JUnitElement | None:
        parent = self._open[-1]
        # Other outcomes have a limit of their own, so that many attempts don't hide a failure.
        limit = MAX_ATTEMPTS if tag.startswith(_REPEATABLE) else 2 * MAX_ATTEMPTS
        of_case = isinstance(parent, JUnitCase) and len(parent.outcomes or ()) < limit
        if isinstance(parent, JUnitCase) and not of_case:
            self._metadata.executions[COUNT_OF.get(STATUS_OF[tag], "other")] += 1
        if of_case or (isinstance(parent, JUnitSuite) and tag in _SUITE_LEVEL):
            return self._collect_element(tag, attributes)
        return None

    def _close_outcome(self, outcome: JUnitElement) -> None:
        self._pop_text_handler()
        self._metadata.contains_failures |= states_failure(outcome.status)
        parent = self._open[-1]
        if isinstance(parent, JUnitCase):
            parent.outcomes = [*(parent.outcomes or ()), outcome]
            self._write_attempt_output(outcome, parent)
        else:
            self._not_passed += 1
            self._metadata.counted[COUNT_OF[outcome.status]] += 1
            self._results.append(suite_level_result(outcome, self._suites[-1]))

    def _write_attempt_output(self, outcome: JUnitElement, case: JUnitCase) -> None:
        if outcome.outputs:
            heading = f"{case.suite.label(case.attributes.get('classname'))} {case.attributes.get('name', '')}"
            outcome.output = self._output.add(heading, _named(outcome.outputs))
            outcome.outputs = None

    def _open_other(self, tag: str, attributes: XmlAttributes) -> _OpenElement | None:
        """Open an element in another spelling. The elements in any other element of a case belong to the case."""
        parent = self._open[-1]
        usual = usual_tag_in_case(tag) if isinstance(parent, JUnitCase) else usual_tag(tag)
        if isinstance(parent, JUnitCase) and usual is None:
            if states_pass(tag) or not self._unknown.add(tag):
                return parent
            usual = "failure"
        opener = self._openers.get(usual or "")
        return opener(usual or "", attributes) if opener else None

    def _close_other(self, tag: str, opened: _OpenElement) -> None:
        usual = opened.tag if isinstance(opened, JUnitElement) else usual_tag(tag)
        self._closers.get(usual or "", self._ignore)(opened)

    def _open_output(self, tag: str, _attributes: XmlAttributes) -> BoundedText:
        parent = self._open[-1]
        owner: JUnitSuite | JUnitCase | JUnitElement = self._case or self._suites[-1]
        if isinstance(parent, JUnitElement) and parent.tag.startswith(OF_EXECUTIONS):
            owner = parent
        self._output_text = text = output_text(owner, tag)
        self._scanner.reset()
        self._push_text_handler(self._collect_and_scan)
        return text

    def _collect_and_scan(self, text: str) -> None:
        self._output_text.add(text)
        for path in self._scanner.scan(text):
            self._attach(path)

    def _open_property(self, tag: str, attributes: XmlAttributes) -> JUnitElement | None:
        if "value" not in attributes:
            return self._collect_element(tag, attributes)
        self._note_property(attributes, attributes["value"])
        return None

    def _close_property(self, element: JUnitElement) -> None:
        self._pop_text_handler()
        self._note_property(element.attributes, element.text)

    def _note_property(self, attributes: XmlAttributes, value: str) -> None:
        name = attributes.get("name") or attributes.get("key") or ""
        if self._case is None:
            if repeats_cases(name, value):
                self._suites[-1].expect_repeats(RepeatsInSuite)
        elif "attachment" in name.lower():
            self._attach(value)
        elif name:
            self._metadata.dropped_properties += not self._case.add_property(name, value)

    def _open_attachment(self, tag: str, attributes: XmlAttributes) -> JUnitElement | None:
        path = next((attributes[name] for name in _PATH_ATTRIBUTES if name in attributes), None)
        if path is None:
            return self._collect_element(tag, attributes)
        self._attach(path)
        return None

    def _close_attachment(self, element: JUnitElement) -> None:
        self._pop_text_handler()
        self._attach(element.text)

    def _attach(self, path: str) -> None:
        (self._case or self._output).attach(Attachment(path.strip()))

    def _collect_element(self, tag: str, attributes: XmlAttributes) -> JUnitElement:
        element = JUnitElement(tag, attributes)
        self._push_text_handler(element.collect)
        return element


class MarkerScanner:
    """Finds `[[ATTACHMENT|path]]` markers in chunks of output, without storing the output."""

    def __init__(self) -> None:
        self._partial_marker = ""

    def scan(self, text: str) -> list[str]:
        """Return the paths whose marker ends in this chunk."""
        if not self._partial_marker and "[[" not in text and not text.endswith("["):
            return []
        text = self._partial_marker + text
        paths, end = _find_markers(text)
        self._partial_marker = _unfinished(text[end:])
        return paths

    def reset(self) -> None:
        """Start with the output of another case."""
        self._partial_marker = ""


def _find_markers(text: str) -> tuple[list[str], int]:
    """Return the paths of the complete markers in the text, and the end of the last marker.

    A search for the end of a marker examines at most `_MAX_PATH` characters: a regular expression would examine the
    rest of the line for each of thousands of markers without an end.
    """
    paths: list[str] = []
    last_end = position = 0
    while (start := text.find(_MARKER_START, position)) >= 0:
        position = start + len(_MARKER_START)
        end = text.find(_MARKER_END, position, position + _MAX_PATH + len(_MARKER_END))
        if end >= 0 and text.find("\n", position, end) < 0:
            paths.append(text[position:end])
            last_end = position = end + len(_MARKER_END)
    return paths, last_end


def _unfinished(text: str) -> str:
    """Return the end of the text if it might be the start of a marker, otherwise an empty string."""
    line = text[text.rfind("\n") + 1 :]
    start = line.find(_MARKER_START)
    if start >= 0:
        return line[start:] if len(line) - start <= len(_MARKER_START) + _MAX_PATH else ""
    prefixes = (_MARKER_START[:length] for length in range(len(_MARKER_START) - 1, 0, -1))
    return next(filter(line.endswith, prefixes), "")


def _count(attributes: XmlAttributes, name: str) -> int | None:
    number = attributes.get(name, "")
    return int(number) if number.isdecimal() and len(number) < 10 else None


def _named(outputs: dict[str, BoundedText]) -> Iterator[tuple[str, BoundedText]]:
    return ((f"{tag}.txt", text) for tag, text in outputs.items())
