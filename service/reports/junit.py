"""JUnit XML of every dialect, read as a stream: memory does not grow with the file.

expat rather than a tree: it hands over elements as they come, never fetches anything, and passes by the
output of the tests without holding it.
"""

from collections.abc import Callable, Iterator
from functools import partial
from typing import Any, BinaryIO, Final
from xml.parsers import expat

from service.contracts.run_events import ResultIn
from service.reports.attachments import MAX_ATTACHMENTS, Attachment, MarkerScanner
from service.reports.attempts import MAX_ATTEMPTS
from service.reports.errors import ReportError, malformed
from service.reports.junit_cases import Case, Outcome, Suite, result_of, suite_level_result
from service.reports.junit_dialects import (
    Attributes,
    is_playwright,
    property_retries,
    root_retries,
    suite_retries,
)
from service.reports.said import Said
from service.reports.times import timestamp
from service.reports.xml_pieces import encoding_and_pieces

_MAX_DEPTH: Final = 200
_MAX_TOKEN_BYTES: Final = 16 * 2**20  # of one tag or comment, which is all that is ever held whole

_SUITES: Final = frozenset({"testsuites", "testsuite"})
_SUITE_LEVEL: Final = frozenset({"error", "failure"})
_OUTCOMES: Final = (
    *("error", "failure", "skipped", "skip"),
    *("flakyFailure", "flakyError", "rerunFailure", "rerunError"),
)
_COUNT_OF: Final = {"failed": "failures", "error": "errors", "skipped": "skipped"}
_DECLARED: Final = {name: name for name in ("tests", "failures", "errors", "skipped")} | {"skips": "skipped"}
_PATH_ATTRIBUTES: Final = ("path", "file", "href", "url", "uri", "src", "source")

TextTaker = Callable[[str], object]
Closer = Callable[[], object]
Opener = Callable[[Attributes], Closer | None]


def read(source: BinaryIO, said: Said) -> Iterator[list[ResultIn]]:
    """The results in lists of bounded size, in the order in which their elements end.

    Raises ReportError where the file is not well-formed to its end: with results handed out by then.
    """
    try:
        encoding, pieces = encoding_and_pieces(source)
        reader = _Reader(said, encoding)
        for piece in pieces:
            yield reader.feed(piece)
        yield reader.finish()
    except (expat.ExpatError, UnicodeError) as error:
        raise malformed(f"not well-formed XML: {error}") from None
    said.compare_counts()


class _Reader:
    """Knows which elements are open and what they have said so far. An opener returns what to do at the end."""

    def __init__(self, said: Said, encoding: str) -> None:
        self._said = said
        self._results: list[ResultIn] = []
        self._tags: list[str] = []
        self._closers: list[Closer | None] = []
        self._takers: list[TextTaker] = []
        self._suites = [Suite({})]
        self._cases: list[Case] = []
        self._playwright = self._root_declares = False
        self._fed = self._case_count = 0
        self._openers: dict[str, Opener] = {
            "testsuites": self._open_root,
            "testsuite": self._open_suite,
            "testcase": self._open_case,
            "property": self._open_property,
            "system-out": self._open_output,
            "system-err": self._open_output,
            "attachment": self._open_attachment,
            **dict.fromkeys(_OUTCOMES, self._open_outcome),
        }
        self._parser = expat.ParserCreate(encoding)
        self._parser.buffer_text = True
        self._parser.buffer_size = 64 * 1024
        self._parser.StartElementHandler = self._start
        self._parser.EndElementHandler = self._end
        self._parser.EntityDeclHandler = _refuse_own_entities

    def feed(self, piece: bytes) -> list[ResultIn]:
        """The results that end in this piece of the file."""
        self._parser.Parse(piece, False)
        self._fed += len(piece)
        if self._fed - max(0, self._parser.CurrentByteIndex) > _MAX_TOKEN_BYTES:
            raise malformed(f"a tag or comment is larger than {_MAX_TOKEN_BYTES} bytes")
        results, self._results = self._results, []
        return results

    def finish(self) -> list[ResultIn]:
        """The rest of the results; the file is over."""
        self._parser.Parse(b"", True)
        self._said.counted["tests"] = self._case_count
        return self._results

    def _start(self, tag: str, attributes: dict[str, str]) -> None:
        if not 0 < len(self._tags) < _MAX_DEPTH:
            self._check_depth(tag)
        self._tags.append(tag)
        opener = self._openers.get(tag)
        self._closers.append(opener(attributes) if opener else None)

    def _end(self, _tag: str) -> None:
        self._tags.pop()
        if closer := self._closers.pop():
            closer()

    def _check_depth(self, tag: str) -> None:
        if self._tags:
            raise malformed(f"elements are nested more than {_MAX_DEPTH} deep")
        if tag not in _SUITES:
            message = f"unsupported format: XML with the root <{tag[:100]}> is not JUnit"
            raise ReportError("unsupported_format", message)

    def _take_text(self, taker: TextTaker) -> Closer:
        """Text goes to the taker until the element ends, but for that of elements inside with takers of their own."""
        self._takers.append(taker)
        self._parser.CharacterDataHandler = taker
        return self._stop_taking

    def _stop_taking(self) -> None:
        self._takers.pop()
        self._parser.CharacterDataHandler = self._takers[-1] if self._takers else None

    def _open_root(self, attributes: Attributes) -> None:
        self._playwright = is_playwright(attributes)
        if root_retries(attributes):
            self._suites[0].expect_repeats()
        self._said.starts(timestamp(attributes.get("timestamp")))
        self._root_declares = "tests" in attributes
        self._declare(attributes)

    def _open_suite(self, attributes: Attributes) -> Closer:
        project = attributes.get("hostname") if self._playwright else None
        suite = Suite(attributes, self._suites[-1], project)
        if suite_retries(attributes):
            suite.expect_repeats()
        if len(self._suites) == 1 and not self._root_declares:
            self._declare(attributes)
        self._said.starts(timestamp(attributes.get("timestamp")))
        self._suites.append(suite)
        return self._close_suite

    def _close_suite(self) -> None:
        if repeats := self._suites.pop().repeats:
            self._results.extend(repeats.rest())

    def _declare(self, attributes: Attributes) -> None:
        for name, what in _DECLARED.items():
            number = attributes.get(name, "")
            if number.isdecimal() and len(number) < 10:
                self._said.declares(what, int(number))

    def _open_case(self, attributes: Attributes) -> Closer:
        self._cases.append(Case(attributes, self._suites[-1]))
        return self._close_case

    def _close_case(self) -> None:
        case = self._cases.pop()
        result = result_of(case)
        self._case_count += 1
        if result["status"] != "passed":
            self._said.counted[_COUNT_OF[result["status"]]] += 1
        if case.suite.repeats:
            self._results.extend(case.suite.repeats.take(result))
        else:
            self._results.append(result)

    def _open_outcome(self, attributes: Attributes) -> Closer | None:
        tag, parent = self._tags[-1], self._tags[-2]
        outcome = Outcome(tag, attributes)
        if parent == "testcase":
            case = self._cases[-1]
            case.outcomes = case.outcomes or []
            if len(case.outcomes) >= MAX_ATTEMPTS:
                return None
            case.outcomes.append(outcome)
            return self._take_text(outcome.collect)
        if parent in _SUITES and tag in _SUITE_LEVEL:
            self._take_text(outcome.collect)
            return partial(self._close_suite_level, outcome)
        return None

    def _close_suite_level(self, outcome: Outcome) -> None:
        self._stop_taking()
        result = suite_level_result(outcome, self._suites[-1])
        self._said.counted[_COUNT_OF[result["status"]]] += 1
        self._results.append(result)

    def _open_output(self, _attributes: Attributes) -> Closer | None:
        if not self._cases:
            return None
        return self._take_text(partial(self._scan, MarkerScanner()))

    def _scan(self, scanner: MarkerScanner, text: str) -> None:
        for path in scanner.scan(text):
            self._attach(path)

    def _open_property(self, attributes: Attributes) -> Closer | None:
        name, value = attributes.get("name") or attributes.get("key") or "", attributes.get("value")
        if value is not None:
            self._note_property(name, value)
            return None
        return self._take_whole(partial(self._note_property, name))

    def _note_property(self, name: str, value: str) -> None:
        if self._cases:
            if "attachment" in name.lower():
                self._attach(value)
        elif property_retries(name, value):
            self._suites[-1].expect_repeats()

    def _open_attachment(self, attributes: Attributes) -> Closer | None:
        path = next((attributes[name] for name in _PATH_ATTRIBUTES if name in attributes), None)
        if path is not None:
            self._attach(path)
            return None
        return self._take_whole(self._attach)

    def _take_whole(self, use: TextTaker) -> Closer:
        """Hands over the text of the element, as one, at its end."""
        text = Outcome("skipped", {})
        self._take_text(text.collect)

        def close() -> None:
            self._stop_taking()
            use(text.text)

        return close

    def _attach(self, path: str) -> None:
        if self._cases:
            case = self._cases[-1]
            case.attachments = case.attachments or []
            if len(case.attachments) < MAX_ATTACHMENTS:
                case.attachments.append(Attachment(path.strip()))


def _refuse_own_entities(_name: str, _is_parameter: bool, value: str | None, *_rest: Any) -> None:
    """No test tool declares entities with a text of their own; a few of them can unfold to gigabytes.

    Those that point elsewhere are left alone: nothing is ever fetched for them.
    """
    if value is not None:
        raise malformed("the document declares entities")
