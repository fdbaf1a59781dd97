"""Conversion of one JUnit XML test case, with its child elements, to one native result."""

import re
from collections.abc import Iterable, Sequence
from typing import Final

from service.domain.statuses import FAILING, ResultStatus
from service.failures.model import FAILING_STEP, explains_failure, find_module
from service.ingest.contract import AttemptIn, Failure, ResultIn
from service.reports.conversion.attachments import Attachment, references
from service.reports.conversion.attempts import (
    MAX_ATTEMPTS,
    MAX_COLLECTED,
    RepeatsInSuite,
    attempts_of,
    join_failures,
    make_failure,
)
from service.reports.conversion.metadata import UnreadableDurations
from service.reports.conversion.names import (
    MAX_LABEL,
    NO_CHECKOUT,
    SEPARATOR,
    SUITE_LEVEL_NAME,
    UNUSUAL_STARTS,
    Checkout,
    portable_name,
    portable_path,
    relative_path,
    suite_label,
)
from service.reports.conversion.output import BoundedText, OutputPart, of_attempt, set_output
from service.reports.conversion.times import milliseconds, utc_timestamp
from service.reports.formats.junit.repeats import AdjacentRepeats
from service.reports.formats.junit.statuses import (
    OF_EXECUTIONS,
    STATUS_ATTRIBUTES,
    STATUS_OF,
    combine,
    status_of_attributes,
)
from service.reports.formats.xml_cases import OpenCase
from service.reports.streams.xml import XmlAttributes, line_of

_CONFIGURATION: Final = re.compile(r"(?:[/\\]|[A-Za-z]:[/\\]).*\.xml(?:\.dist)?")
_RETRY_FOLDER: Final = re.compile(r"-retry(\d{1,3})[/\\]", re.ASCII)
_PYTEST: Final = "pytest"  # the suite of its tests
_PLAYWRIGHT_ROOT: Final = ["id", "name", "tests", "failures", "skipped", "errors", "time"]
# A suite of Vitest, of Playwright, or of jest-junit with the name `{filepath}`.
_TEST_FILE: Final = re.compile(r"(?:[^\s:]*/[^\s:/]+|[^\s:/]+\.(?:test|spec|cy))\.[cm]?[jt]sx?")
_MAX_LABELS: Final = 10_000
_RUN_STAMP: Final = re.compile(r"-\d{14}$")  # unittest-xml-reporting appends the time of the run to the suite name
_BY_SEVERITY: Final[tuple[ResultStatus, ...]] = ("error", "failed", "canceled", "skipped")
_LINES: Final = ("line", "lineno")
_PARAMETERS: Final = ("value_param", "type_param")  # of gtest
_OPTIONAL_ATTRIBUTES: Final = STATUS_ATTRIBUTES | {"file", "timestamp", *_LINES, *_PARAMETERS}
_MAX_LINE: Final = 1_000  # characters


class JUnitSuite:
    """An open suite with the values that its cases inherit."""

    __slots__ = (
        "checkout", "file", "is_of_pytest", "labels", "not_passed", "outputs", "path", "relative_file", "repeats",
        "root", "stored_file",
    )  # fmt: skip

    def __init__(
        self, attributes: XmlAttributes, parent: "JUnitSuite | None" = None, project: str | None = None,
        checkout: Checkout = NO_CHECKOUT,
    ) -> None:  # fmt: skip
        name = _RUN_STAMP.sub("", attributes.get("name", ""))
        root = _root_of_configuration(name)
        # The folder of the tests, with a separator at its end.
        self.root: str | None = root or (parent.root if parent else None)
        name = "" if root else portable_name(name, self.root)
        self.path: tuple[str, ...] = (*(parent.path if parent else ()), *filter(None, (project, name)))
        stated_file = attributes.get("file") or attributes.get("filepath")
        own_file = stated_file or (name if names_test_file(name) else None)
        # The root of the checkout changes only the stored file, so that labels are equal with and without it.
        self.checkout: Checkout = parent.checkout if parent else checkout
        self.file: str | None = parent.file if parent else None
        self.stored_file: str | None = parent.stored_file if parent else None
        self.relative_file: str | None = parent.relative_file if parent else None
        if own_file:
            self.file = portable_path(own_file, self.root)[:MAX_LABEL]
            self.relative_file = relative_path(own_file, self.root)
            self.stored_file = self.checkout.file_of(stated_file or attributes["name"], self.root)[:MAX_LABEL]
        # Suites in a suite whose producer repeats cases repeat them too.
        self.repeats: AdjacentRepeats | RepeatsInSuite | None = (
            type(parent.repeats)() if parent and parent.repeats else None
        )
        self.is_of_pytest: bool = parent.is_of_pytest if parent else False
        self.labels: dict[str | None, str] = {}
        self.outputs: dict[str, BoundedText] | None = None
        self.not_passed = 0  # number of results that didn't pass before the suite

    def expect_repeats(self, merger: type[AdjacentRepeats | RepeatsInSuite]) -> None:
        """Treat repeated cases in this suite and its nested suites as attempts, because the producer retries cases."""
        self.repeats = self.repeats or merger()

    def label(self, classname: str | None, file: str | None = None) -> str:
        """Return the `suite` of a case by its class, or by its file if it has no class. Cache the label of a class."""
        label = suite_label(self.path, portable_name(classname or "", self.root), file)
        if classname and len(self.labels) < _MAX_LABELS:
            self.labels[classname] = label
        return label


def _root_of_configuration(suite: str) -> str | None:
    """Return the folder of a suite that is named by the absolute path of its configuration (PHPUnit), with a separator.

    Return None for any other suite.
    """
    if not _CONFIGURATION.fullmatch(suite):
        return None
    return suite[: max(suite.rfind("/"), suite.rfind("\\")) + 1]


def names_test_file(suite_name: str) -> bool:
    """Return whether a suite has the path of a JavaScript or TypeScript file as its name."""
    return _TEST_FILE.fullmatch(suite_name) is not None


class JUnitElement:
    """An open element whose text is used: an outcome, a property, or an attachment."""

    __slots__ = ("_size", "_texts", "attributes", "output", "outputs", "tag")

    def __init__(self, tag: str, attributes: XmlAttributes) -> None:
        self.tag = tag
        self.attributes = attributes
        self.outputs: dict[str, BoundedText] | None = None
        self.output: Sequence[OutputPart] = ()  # the written outputs
        self._texts: list[str] = []
        self._size = 0

    def collect(self, text: str) -> None:
        """Add a chunk of the text."""
        if self._size < MAX_COLLECTED:
            self._texts.append(text)
            self._size += len(text)

    @property
    def status(self) -> ResultStatus:
        """The status that this element represents."""
        return STATUS_OF[self.tag]

    @property
    def text(self) -> str:
        """The collected text."""
        return "".join(self._texts).strip()[:MAX_COLLECTED]


class JUnitCase(OpenCase):
    """An open test case."""

    outcomes: list[JUnitElement] | None = None

    def __init__(self, attributes: XmlAttributes, suite: JUnitSuite) -> None:
        self.attributes = attributes
        self.suite = suite


def result_of(case: JUnitCase, unreadable: UnreadableDurations) -> ResultIn:
    """Return the native result of a closed case."""
    attributes, suite = case.attributes, case.suite
    name = attributes.get("name", "")
    classname = attributes.get("classname")
    label = suite.labels.get(classname)
    if label and classname and name.endswith(classname):
        label = None
    if name[:1] in UNUSUAL_STARTS or name[1:2] == ":":
        name, label = _name_of(attributes, suite), None
    result: ResultIn = {"suite": label or _label_of(attributes, suite, name), "name": name, "status": "passed"}
    if time := attributes.get("time"):
        duration_ms = milliseconds(time)
        if duration_ms is None:
            unreadable.add(time)
        else:  # without the call of `set_duration`, because most cases have only a duration
            result["duration_ms"] = duration_ms
    if suite.stored_file:
        result["file"] = suite.stored_file
    is_usual = label and time and len(attributes) == 3  # a name, a class, and a time
    if not (is_usual or _OPTIONAL_ATTRIBUTES.isdisjoint(attributes)):
        _add_optional_fields(result, case)
    if case.outcomes:
        _set_status(result, case.outcomes, unreadable)
    if case.attachments:
        result["artifacts"] = references(number_retries(case.attachments))
    if case.properties:
        result["properties"] = case.properties.pairs
    return result


def _name_of(attributes: XmlAttributes, suite: JUnitSuite) -> str:
    """Return the name, or the class, file, or suite of a case without a name."""
    name = attributes.get("name") or attributes.get("classname") or attributes.get("class")
    return portable_name(name, suite.root) if name else _file_of(attributes, suite) or "".join(suite.path[-1:])


def _file_of(attributes: XmlAttributes, suite: JUnitSuite) -> str | None:
    file = attributes.get("file")
    return portable_path(file, suite.root) if file else suite.file


def _label_of(attributes: XmlAttributes, suite: JUnitSuite, name: str) -> str:
    """Return the suite by the class, or by the file if the class is missing or repeats the name or its end.

    The class of pytest repeats nothing: it's the module. xcresult states an absolute file only for failures, so that
    such a file is used only if the label would be empty.
    """
    classname = attributes.get("classname") or attributes.get("class")
    repeats_name = classname and (classname in (name, attributes.get("name")) or _repeats_title(name, classname))
    if classname and (suite.is_of_pytest or not repeats_name):
        return suite.label(classname)
    own_file = attributes.get("file")
    file = relative_path(own_file, suite.root) if own_file else suite.relative_file
    label = suite.label(None, file if file != name else None)
    return label or _file_of(attributes, suite) or portable_name(classname or "", suite.root)


def _repeats_title(name: str, classname: str) -> bool:
    """Return whether the class is only the title of the test, as in mocha-junit-reporter.

    The name is the title after the titles of all suites.
    """
    return name.endswith(f" {classname}")


def _add_optional_fields(result: ResultIn, case: JUnitCase) -> None:
    attributes = case.attributes
    if file := attributes.get("file"):
        result["file"] = case.suite.checkout.file_of(file, case.suite.root)
    if started_at := utc_timestamp(attributes.get("timestamp")):
        result["started_at"] = started_at
    if not STATUS_ATTRIBUTES.isdisjoint(attributes):
        _add_stated_status(result, attributes)
    written = next((attributes[name] for name in _LINES if name in attributes), None)
    if line := line_of(written, int(case.suite.is_of_pytest)):
        result["line"] = line
    for name in _PARAMETERS:
        if name in attributes:
            case.add_property(name, attributes[name])


def _add_stated_status(result: ResultIn, attributes: XmlAttributes) -> None:
    result["status"] = status = status_of_attributes(attributes)
    if status in FAILING:
        result["failure"] = {"message": f"The report states the status {status}, but no failure."}


def _set_status(result: ResultIn, outcomes: Sequence[JUnitElement], unreadable: UnreadableDurations) -> None:
    """Set the most severe status of the outcomes, and add flaky and rerun elements as attempts."""
    flaky = [outcome for outcome in outcomes if outcome.tag.startswith("flaky")]
    reruns = [outcome for outcome in outcomes if outcome.tag.startswith("rerun")]
    own = [outcome for outcome in outcomes if not outcome.tag.startswith(OF_EXECUTIONS)]
    if own:
        result["status"] = combine(result["status"], _most_severe(own))
        _add_failure(result, own)
    if flaky or reruns:
        _add_executions(result, [*flaky, *reruns], unreadable)


def _most_severe(outcomes: Sequence[JUnitElement]) -> ResultStatus:
    stated = {outcome.status for outcome in outcomes}
    skips = [outcome for outcome in outcomes if outcome.status == "skipped"]
    if any(_allows_failures(outcome.attributes.get("message", "")) for outcome in skips):
        return "skipped"
    return next((status for status in _BY_SEVERITY if status in stated), "passed")


def _allows_failures(skip_message: str) -> bool:
    """Return whether the message is of Catch2 for a case with the tag `[!mayfail]`, whose failures don't count."""
    return "!mayfail" in skip_message


def _add_failure(result: ResultIn, outcomes: Sequence[JUnitElement]) -> None:
    """Set the failure: type and message of the first failure or error, and the texts of all elements."""
    ordered = sorted(outcomes, key=lambda outcome: outcome.status == "skipped")
    if failures := [failure for outcome in ordered if (failure := _failure_of(outcome))]:
        result["failure"] = join_failures(failures)


def _failure_of(outcome: JUnitElement) -> Failure:
    return make_failure(outcome.attributes.get("type"), outcome.attributes.get("message"), outcome.text)


def _add_executions(result: ResultIn, outcomes: Sequence[JUnitElement], unreadable: UnreadableDurations) -> None:
    """Set the attempts: the other executions of the case, and the case itself, whose number isn't stated."""
    executions = [_attempt_of(outcome, unreadable) for outcome in outcomes]
    (case,) = attempts_of(result)
    position = _position_of_case(executions, case)
    attempts = [*executions[:position], case, *executions[position:]][-MAX_ATTEMPTS:]
    result["attempts"] = attempts
    if failure := attempts[-1].get("failure"):
        result["failure"] = failure
    outputs = [outcome.output for outcome in outcomes]
    numbered = enumerate([*outputs[:position], (), *outputs[position:]], 1)
    set_output(result, [part for number, parts in numbered for part in of_attempt(number, parts)])


def _attempt_of(outcome: JUnitElement, unreadable: UnreadableDurations) -> AttemptIn:
    attempt: AttemptIn = {"status": outcome.status}
    if time := outcome.attributes.get("time"):
        unreadable.set_duration(attempt, time, milliseconds(time))
    if started_at := utc_timestamp(outcome.attributes.get("timestamp")):
        attempt["started_at"] = started_at
    if failure := _failure_of(outcome):
        attempt["failure"] = failure
    return attempt


def _position_of_case(executions: Sequence[AttemptIn], case: AttemptIn) -> int:
    """Return the number of executions before the case itself.

    The case itself decides, also if it was the first execution, as in Surefire. It is the last attempt, unless times
    show that executions with the same status followed, as in nextest.
    """
    started_at = case.get("started_at")
    if started_at is None or executions[-1]["status"] != case["status"]:
        return len(executions)
    starts = (execution.get("started_at") for execution in executions)
    return sum(start is None or start <= started_at for start in starts)


def number_retries(attachments: Sequence[Attachment]) -> Sequence[Attachment]:
    """Add the attempts that folders of Playwright state: `pay-chromium-retry1` belongs to the second attempt.

    The files of all attempts of a case are in one list.
    """
    retries = [int(found[1]) if (found := _RETRY_FOLDER.search(each.uri)) else 0 for each in attachments]
    last = max(retries, default=0)
    return [
        each if retry == last else each._replace(attempt=retry + 1)
        for each, retry in zip(attachments, retries, strict=True)
    ]


def is_playwright(root: XmlAttributes) -> bool:
    """Return whether the root is of Playwright, which writes its project (the browser) as the `hostname` of a suite."""
    return list(root) == _PLAYWRIGHT_ROOT


def is_pytest(element: XmlAttributes) -> bool:
    """Return whether the suite or root is of pytest.

    Only pytest counts the lines of a file from 0, and its class is always the module, also if it has the name of the
    test: `test_login.py::test_login`.
    """
    return element.get("name") in (_PYTEST, "pytest tests")


def repeats_adjacent_cases(suite: XmlAttributes) -> bool:
    """Return whether the suite is of pytest, which writes the attempts of a case one after the other.

    In pytest, node IDs are unique, so that adjacent equal cases are executions of one case.
    """
    return suite.get("name") == _PYTEST


def repeats_cases(name: str, value: str) -> bool:
    """Return whether the property is of gotestsum, which writes each attempt as a further case of the suite.

    Only gotestsum adds the platform to the value of `go.version`.
    """
    return name == "go.version" and " " in value


def add_file_of_traceback(result: ResultIn, checkout: Checkout) -> None:
    """Add the file of a failed test of pytest, which states it only in tracebacks, unless `junit_family` is `xunit1`.

    Call this after attempts are merged, because those that passed have no file.
    """
    producer, separator, module = (result.get("suite") or "").partition(SEPARATOR)
    if producer == _PYTEST and "file" not in result:
        details = (result.get("failure") or {}).get("details") or ""
        if file := find_module(details, module if separator else result["name"]):
            result["file"] = checkout.file_of(file)


def suite_level_result(outcome: JUnitElement, suite: JUnitSuite) -> ResultIn:
    """Return a failure that belongs to no case as a separate result, so that it isn't lost."""
    result: ResultIn = {"suite": suite.label(None), "name": SUITE_LEVEL_NAME, "status": outcome.status}
    _add_failure(result, [outcome])
    return result


def add_failing_step(result: ResultIn, outputs: Iterable[BoundedText]) -> None:
    """Add the first step that didn't pass to the details, unless the failure states a cause."""
    failure = result.get("failure") or {}
    if explains_failure(failure.get("message"), failure.get("details")):
        return
    lines = (line.strip() for output in outputs for line in output.details().splitlines() if len(line) < _MAX_LINE)
    if step := next(filter(None, map(FAILING_STEP.fullmatch, lines)), None):
        result["failure"] = {**failure, "details": f"{step[2]}: {step[1]}"}
