"""JUnit XML of every dialect, read as a stream: memory does not grow with the file.

expat rather than a tree: it hands over elements as they come, never fetches anything, and passes by the
output of the tests without holding it.
"""

from collections.abc import Callable, Iterator
from typing import Any, BinaryIO, Final
from xml.parsers import expat

from service.contracts.run_events import ResultIn
from service.reports.attachments import Attachment, MarkerScanner
from service.reports.attempts import MAX_ATTEMPTS
from service.reports.errors import ReportError, malformed
from service.reports.junit_cases import STATUS_OF, JUnitCase, JUnitElement, JUnitSuite, result_of, suite_level_result
from service.reports.junit_dialects import (
    XmlAttributes,
    is_playwright,
    property_retries,
    root_retries,
    suite_retries,
)
from service.reports.metadata import ReportMetadata
from service.reports.times import timestamp
from service.reports.xml_chunks import read_xml_chunks

_MAX_DEPTH: Final = 200
_MAX_TOKEN_BYTES: Final = 16 * 2**20  # of one tag or comment, which is all that is ever held whole

_SUITES: Final = frozenset({"testsuites", "testsuite"})
_SUITE_LEVEL: Final = frozenset({"error", "failure"})
_COUNT_OF: Final = {"failed": "failures", "error": "errors", "skipped": "skipped"}
_DECLARED: Final = {name: name for name in ("tests", "failures", "errors", "skipped")} | {"skips": "skipped"}
_PATH_ATTRIBUTES: Final = ("path", "file", "href", "url", "uri", "src", "source")

TextTaker = Callable[[str], object]
OpenElement = JUnitSuite | JUnitCase | JUnitElement | MarkerScanner


def read(source: BinaryIO, said: ReportMetadata) -> Iterator[list[ResultIn]]:
    """The results in lists of bounded size, in the order in which their elements end.

    Raises ReportError where the file is not well-formed to its end: with results handed out by then.
    """
    try:
        encoding, pieces = read_xml_chunks(source)
        reader = _Reader(said, encoding)
        for piece in pieces:
            yield reader.feed(piece)
        yield reader.finish()
    except (expat.ExpatError, UnicodeError) as error:
        raise malformed(f"not well-formed XML: {error}") from None
    said.compare_counts()


class _Reader:
    """Follows the parser. What an opener returns is given to the closer of the same tag."""

    def __init__(self, said: ReportMetadata, encoding: str) -> None:
        self._said = said
        self._results: list[ResultIn] = []
        self._open: list[OpenElement | None] = []
        self._suites = [JUnitSuite({})]
        self._case: JUnitCase | None = None
        self._scanner = MarkerScanner()
        self._takers: list[TextTaker] = []
        self._playwright = self._root_declares = False
        self._fed = self._case_count = 0
        self._openers: dict[str, Callable[[str, XmlAttributes], OpenElement | None]] = {
            "testcase": self._open_case,
            "testsuites": self._open_root,
            "testsuite": self._open_suite,
            "property": self._open_property,
            "attachment": self._open_attachment,
            **dict.fromkeys(STATUS_OF, self._open_outcome),
            **dict.fromkeys(("system-out", "system-err"), self._open_output),
        }
        self._closers: dict[str, Callable[[Any], None]] = {
            "testcase": self._close_case,
            "testsuites": self._close_root,
            "testsuite": self._close_suite,
            "property": self._close_property,
            "attachment": self._close_attachment,
            **dict.fromkeys(STATUS_OF, self._close_outcome),
            **dict.fromkeys(("system-out", "system-err"), self._stop_taking),
        }
        self._parser = self._new_parser(encoding)

    def _new_parser(self, encoding: str) -> expat.XMLParserType:
        parser = expat.ParserCreate(encoding)
        parser.buffer_text = True
        parser.buffer_size = 64 * 1024
        parser.StartElementHandler = self._start
        parser.EndElementHandler = self._end
        parser.EntityDeclHandler = _refuse_own_entities
        return parser

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
        if not 0 < len(self._open) < _MAX_DEPTH:
            self._check_depth(tag)
        opener = self._openers.get(tag)
        self._open.append(opener(tag, attributes) if opener else None)

    def _end(self, tag: str) -> None:
        opened = self._open.pop()
        if opened is not None:
            self._closers[tag](opened)

    def _check_depth(self, tag: str) -> None:
        if self._open:
            raise malformed(f"elements are nested more than {_MAX_DEPTH} deep")
        if tag not in _SUITES:
            message = f"unsupported format: XML with the root <{tag[:100]}> is not JUnit"
            raise ReportError("unsupported_format", message)

    def _open_root(self, _tag: str, attributes: XmlAttributes) -> JUnitSuite:
        root = self._suites[0]
        self._playwright = is_playwright(attributes)
        if root_retries(attributes):
            root.expect_repeats()
        self._said.starts(timestamp(attributes.get("timestamp")))
        self._root_declares = "tests" in attributes
        self._declare(attributes)
        return root

    def _close_root(self, root: JUnitSuite) -> None:
        self._results.extend(root.repeats.rest() if root.repeats else ())

    def _open_suite(self, _tag: str, attributes: XmlAttributes) -> JUnitSuite:
        project = attributes.get("hostname") if self._playwright else None
        suite = JUnitSuite(attributes, self._suites[-1], project)
        if suite_retries(attributes):
            suite.expect_repeats()
        if len(self._suites) == 1 and not self._root_declares:
            self._declare(attributes)
        self._said.starts(timestamp(attributes.get("timestamp")))
        self._suites.append(suite)
        return suite

    def _close_suite(self, suite: JUnitSuite) -> None:
        self._suites.pop()
        self._results.extend(suite.repeats.rest() if suite.repeats else ())

    def _declare(self, attributes: XmlAttributes) -> None:
        for name, what in _DECLARED.items():
            number = attributes.get(name, "")
            if number.isdecimal() and len(number) < 10:
                self._said.declares(what, int(number))

    def _open_case(self, _tag: str, attributes: XmlAttributes) -> JUnitCase:
        self._case = case = JUnitCase(attributes, self._suites[-1])
        return case

    def _close_case(self, case: JUnitCase) -> None:
        self._case = None
        self._case_count += 1
        result = result_of(case)
        if result["status"] != "passed":
            self._said.counted[_COUNT_OF[result["status"]]] += 1
        repeats = case.suite.repeats
        if repeats is None:
            self._results.append(result)
        else:
            self._results.extend(repeats.take(result))

    def _open_outcome(self, tag: str, attributes: XmlAttributes) -> JUnitElement | None:
        parent = self._open[-1]
        of_case = isinstance(parent, JUnitCase) and len(parent.outcomes or ()) < MAX_ATTEMPTS
        if of_case or (isinstance(parent, JUnitSuite) and tag in _SUITE_LEVEL):
            return self._take_element(tag, attributes)
        return None

    def _close_outcome(self, outcome: JUnitElement) -> None:
        self._stop_taking()
        parent = self._open[-1]
        if isinstance(parent, JUnitCase):
            parent.outcomes = [*(parent.outcomes or ()), outcome]
        else:
            self._said.counted[_COUNT_OF[outcome.status]] += 1
            self._results.append(suite_level_result(outcome, self._suites[-1]))

    def _open_output(self, _tag: str, _attributes: XmlAttributes) -> MarkerScanner | None:
        if self._case is None:
            return None
        self._scanner.reset()
        self._take_text(self._scan)
        return self._scanner

    def _scan(self, text: str) -> None:
        for path in self._scanner.scan(text):
            self._attach(path)

    def _open_property(self, tag: str, attributes: XmlAttributes) -> JUnitElement | None:
        if "value" not in attributes:
            return self._take_element(tag, attributes)
        self._note_property(attributes, attributes["value"])
        return None

    def _close_property(self, element: JUnitElement) -> None:
        self._stop_taking()
        self._note_property(element.attributes, element.text)

    def _note_property(self, attributes: XmlAttributes, value: str) -> None:
        name = attributes.get("name") or attributes.get("key") or ""
        if self._case is None:
            if property_retries(name, value):
                self._suites[-1].expect_repeats()
        elif "attachment" in name.lower():
            self._attach(value)

    def _open_attachment(self, tag: str, attributes: XmlAttributes) -> JUnitElement | None:
        path = next((attributes[name] for name in _PATH_ATTRIBUTES if name in attributes), None)
        if path is None:
            return self._take_element(tag, attributes)
        self._attach(path)
        return None

    def _close_attachment(self, element: JUnitElement) -> None:
        self._stop_taking()
        self._attach(element.text)

    def _attach(self, path: str) -> None:
        if self._case is not None:
            self._case.attach(Attachment(path.strip()))

    def _take_element(self, tag: str, attributes: XmlAttributes) -> JUnitElement:
        element = JUnitElement(tag, attributes)
        self._take_text(element.collect)
        return element

    def _take_text(self, ingester: TextTaker) -> None:
        """Text goes to this ingester, but for that of elements inside with takers of their own."""
        self._takers.append(ingester)
        self._parser.CharacterDataHandler = ingester

    def _stop_taking(self, _opened: OpenElement | None = None) -> None:
        self._takers.pop()
        self._parser.CharacterDataHandler = self._takers[-1] if self._takers else None


def _refuse_own_entities(_name: str, _is_parameter: bool, value: str | None, *_rest: Any) -> None:
    """No test tool declares entities with a text of their own; a few of them can unfold to gigabytes.

    Those that point elsewhere are left alone: nothing is ever fetched for them.
    """
    if value is not None:
        raise malformed("the document declares entities")
