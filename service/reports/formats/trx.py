"""Streaming reader of TRX, the XML format of Visual Studio and `dotnet test --logger trx`.

The file is read twice: the classes and the properties of the tests can be after the results.
"""

import re
from collections.abc import Iterator
from functools import partial
from typing import BinaryIO, Final

import orjson

from service.domain.statuses import ResultStatus, states_failure
from service.ingest.contract import Failure, ResultIn
from service.reports.conversion.attachments import MAX_ATTACHMENTS, Attachment, references
from service.reports.conversion.attempts import make_failure, status_of_word
from service.reports.conversion.errors import malformed
from service.reports.conversion.metadata import ReportMetadata
from service.reports.conversion.names import MAX_LABEL, SUITE_LEVEL_NAME, portable_name
from service.reports.conversion.output import BoundedText, set_output
from service.reports.conversion.times import timespan_ms, utc_timestamp
from service.reports.streams.kept_values import TextsByTest
from service.reports.streams.xml import XmlAttributes, XmlReader, read_xml
from service.results.model import PropertyCollector

_ROOTS: Final = frozenset({"TestRun"})
_TITLE: Final = "TRX"
# The elements of results and definitions are named after the kind of the test.
_KINDS: Final = ("Unit", "Generic", "Manual", "Web", "Load", "Ordered")
_DEFINITIONS: Final = tuple(f"{kind}Test" for kind in _KINDS)
_ASSEMBLY: Final = re.compile(r", [^,]+, Version=.*")  # after the class, as in "Shop.Cart, Shop, Version=1.0.0.0"
_CATEGORY: Final = "TestCategory"
_RESULTS: Final = (*(f"{kind}TestResult" for kind in _KINDS), "TestResult", "TestResultAggregation")
_TEXT_OUTPUTS: Final = {"StdOut": "stdout.txt", "StdErr": "stderr.txt", "DebugTrace": "debug-trace.txt"}
_MESSAGES: Final = "messages.txt"
# The outcomes that only TRX has. A result without an outcome has the first value of the enumeration, which is `Error`.
_STATUS_OF: Final[dict[str, ResultStatus]] = {
    **dict.fromkeys(("PassedButRunAborted", "Warning", "Completed"), "passed"),
    **dict.fromkeys(("", "NotRunnable"), "error"),
    "InProgress": "canceled",
}
_DECLARED: Final = {
    "total": "tests",
    "failed": "failures",
    **dict.fromkeys(("error", "timeout", "aborted", "inconclusive", "disconnected", "notRunnable"), "errors"),
}


def read(source: BinaryIO, metadata: ReportMetadata) -> Iterator[list[ResultIn]]:
    """Yield the results in lists of bounded size. Raises ReportError if the file isn't well-formed TRX."""
    definitions = _Definitions()
    for _ in read_xml(source, partial(_DefinitionReader, definitions), metadata):
        pass  # definitions aren't results
    source.seek(0)
    yield from read_xml(source, partial(_ResultReader, definitions), metadata)


class _Definitions:
    """The class of each test, and its properties as a JSON object."""

    def __init__(self) -> None:
        self._classes = TextsByTest()
        self._properties = TextsByTest()

    def add(self, test_id: str, class_name: str, properties: dict[str, str]) -> bool:
        """Add a test, and return False if the properties of all tests together are too large.

        Raises ReportError if the names of all classes together are too large.
        """
        if not self._classes.add(test_id, class_name):
            raise malformed("the names of all classes together are too large")
        return not properties or self._properties.add(test_id, orjson.dumps(properties).decode())

    def class_of(self, test_id: str) -> str:
        """Return the class of a test, or "" if it is unknown."""
        return self._classes.find(test_id) or ""

    def properties_of(self, test_id: str) -> dict[str, str]:
        """Return the properties of a test."""
        properties: dict[str, str] = orjson.loads(self._properties.find(test_id) or "{}")
        return properties


class _DefinitionReader(XmlReader):
    """Collects the class of each test, or the file name of its assembly if the test has no class, and its properties.

    The categories of a test are the property `TestCategory`.
    """

    def __init__(self, definitions: _Definitions, metadata: ReportMetadata, encoding: str) -> None:
        super().__init__(metadata, encoding, _ROOTS, _TITLE)
        self._definitions = definitions
        self._class = ""
        self._pairs: PropertyCollector | None = None  # of the open test
        self._key = ""
        self._openers = {
            **dict.fromkeys(_DEFINITIONS, self._open_test),
            "TestMethod": self._open_method,
            "TestCategoryItem": self._open_category,
            **dict.fromkeys(("Key", "Value"), self._open_text),
        }
        self._closers = {
            **dict.fromkeys(_DEFINITIONS, self._close_test),
            "Key": self._close_key,
            "Value": self._close_value,
        }

    def _open_test(self, _tag: str, attributes: XmlAttributes) -> XmlAttributes:
        self._class = re.split(r"[/\\]", attributes.get("storage", ""))[-1]
        self._pairs = PropertyCollector()
        return attributes

    def _open_method(self, _tag: str, attributes: XmlAttributes) -> None:
        self._class = _ASSEMBLY.sub("", attributes.get("className", "")) or self._class

    def _open_category(self, _tag: str, attributes: XmlAttributes) -> None:
        self._add_property(_CATEGORY, attributes.get(_CATEGORY, ""))

    def _open_text(self, _tag: str, _attributes: XmlAttributes) -> BoundedText | None:
        return None if self._pairs is None else self._collect(BoundedText())

    def _close_key(self, text: BoundedText) -> None:
        self._pop_text_handler()
        self._key = text.details().strip()

    def _close_value(self, text: BoundedText) -> None:
        self._pop_text_handler()
        self._add_property(self._key, text.details().strip())
        self._key = ""

    def _add_property(self, name: str, value: str) -> None:
        if self._pairs is not None and name:
            self._metadata.dropped_properties += not self._pairs.add(name, value)

    def _close_test(self, attributes: XmlAttributes) -> None:
        pairs = self._pairs.pairs if self._pairs else {}
        is_added = self._definitions.add(attributes.get("id", ""), self._class[:MAX_LABEL], pairs)
        self._metadata.dropped_properties += 0 if is_added else len(pairs)
        self._pairs = None


class _OpenResult:
    """An open result, or the error and the output of the run.

    `outputs` contains the outputs by the name of their artifact.
    """

    __slots__ = ("attachments", "attributes", "message", "outputs", "stack")

    def __init__(self, attributes: XmlAttributes) -> None:
        self.attributes = attributes
        self.message, self.stack = BoundedText(), BoundedText()
        self.attachments: list[Attachment] = []
        self.outputs: dict[str, BoundedText] = {}

    @property
    def failure(self) -> Failure:
        """The failure, without texts that are missing."""
        return make_failure(message=self.message.details().strip(), details=self.stack.details().strip("\r\n"))


class _ResultReader(XmlReader):
    """Converts the results, and the summary of the run."""

    def __init__(self, definitions: _Definitions, metadata: ReportMetadata, encoding: str) -> None:
        super().__init__(metadata, encoding, _ROOTS, _TITLE)
        self._definitions = definitions
        self._open_results: list[_OpenResult] = []
        self._run = _OpenResult({})
        self._not_passed = 0  # number of results
        self._openers = {
            **dict.fromkeys(_RESULTS, self._open_result),
            "ErrorInfo": self._open_error,
            "RunInfo": self._open_run_info,
            **dict.fromkeys(("Message", "StackTrace", "Text"), self._open_text),
            **dict.fromkeys(_TEXT_OUTPUTS, self._open_output),
            "TextMessages": self._open_messages,
            "ResultFile": self._open_file,
            "Times": self._open_times,
            "ResultSummary": self._open_summary,
            "Counters": self._open_counters,
        }
        self._closers = {
            **dict.fromkeys(_RESULTS, self._close_result),
            **dict.fromkeys(("ErrorInfo", "RunInfo"), _end_error),
            **dict.fromkeys(("Message", "StackTrace", "Text"), self._close_text),
            **dict.fromkeys(_TEXT_OUTPUTS, self._pop_text_handler),
            "TextMessages": self._ignore,
        }

    def finish(self) -> list[ResultIn]:
        """End the document, and return the error of the run if no result states why the run failed."""
        results = super().finish()
        error = self._run.failure
        if error and not self._metadata.contains_failures:
            self._metadata.contains_failures = True
            results.append({"suite": "", "name": SUITE_LEVEL_NAME, "status": "error", "failure": error})
            self._not_passed += 1
        if self._not_passed:
            self._metadata.output.add_suite("run", self._run.outputs.items())
        return results

    def _open_result(self, _tag: str, attributes: XmlAttributes) -> _OpenResult:
        result = _OpenResult(attributes)
        self._open_results.append(result)
        return result

    def _open_other(self, tag: str, attributes: XmlAttributes) -> _OpenResult | None:
        """Open the result of an unknown kind of test, so that it isn't lost."""
        return self._open_result(tag, attributes) if tag.endswith("TestResult") else None

    def _close_other(self, _tag: str, opened: _OpenResult) -> None:
        self._close_result(opened)

    def _open_error(self, _tag: str, _attributes: XmlAttributes) -> _OpenResult | None:
        return self._open_results[-1] if self._open_results else None

    def _open_run_info(self, _tag: str, attributes: XmlAttributes) -> _OpenResult | None:
        return self._run if _has_failed(attributes) else None

    def _open_text(self, tag: str, _attributes: XmlAttributes) -> BoundedText | None:
        """Collect the text of an error, or a message that belongs to no error. Other elements can have these names."""
        parent: _OpenResult | BoundedText | None = self._open[-1]
        if parent is None:
            return None
        if isinstance(parent, _OpenResult):
            parent = parent.stack if tag == "StackTrace" else parent.message
        return self._collect(parent)

    def _close_text(self, text: BoundedText) -> None:
        self._pop_text_handler()
        if text is self._open[-1]:  # a list of messages
            text.add("\n")

    def _open_output(self, tag: str, _attributes: XmlAttributes) -> BoundedText:
        return self._collect(self._output_text(_TEXT_OUTPUTS[tag]))

    def _open_messages(self, _tag: str, _attributes: XmlAttributes) -> BoundedText:
        return self._output_text(_MESSAGES)

    def _output_text(self, name: str) -> BoundedText:
        owner = self._open_results[-1] if self._open_results else self._run
        return owner.outputs.setdefault(name, BoundedText())

    def _open_file(self, _tag: str, attributes: XmlAttributes) -> None:
        if self._open_results and len(self._open_results[-1].attachments) < MAX_ATTACHMENTS:
            result = self._open_results[-1]
            path = attributes.get("path", "").replace("\\", "/")
            folder = result.attributes.get("relativeResultsDirectory")
            result.attachments.append(Attachment(f"{folder}/{path}" if folder else path, path.rpartition("/")[2]))

    def _close_result(self, opened: _OpenResult) -> None:
        self._open_results.pop()
        attributes, metadata = opened.attributes, self._metadata
        test_id = attributes.get("testId", "")
        suite = self._definitions.class_of(test_id)
        name = portable_name(attributes.get("testName", ""))
        status = _status_of(attributes.get("outcome", ""))
        result: ResultIn = {"suite": suite, "name": name.removeprefix(f"{suite}.") or suite, "status": status}
        self._add_times(result, attributes)
        failure = opened.failure
        if failure and status != "passed":
            result["failure"] = failure
        if properties := self._definitions.properties_of(test_id):
            result["properties"] = properties
        if opened.attachments:
            result["artifacts"] = references(opened.attachments)
        if status != "passed":
            self._not_passed += 1
            set_output(result, metadata.output.add(f"{suite} {result['name']}", opened.outputs.items()))
        metadata.count(status)
        self._results.append(result)

    def _add_times(self, result: ResultIn, attributes: XmlAttributes) -> None:
        if started_at := utc_timestamp(attributes.get("startTime")):
            result["started_at"] = started_at
        if written := attributes.get("duration"):
            self._metadata.unreadable.set_duration(result, written, timespan_ms(written))

    def _open_times(self, _tag: str, attributes: XmlAttributes) -> None:
        self._metadata.times.add(utc_timestamp(attributes.get("start")))
        self._metadata.times.set_end(utc_timestamp(attributes.get("finish")))

    def _open_summary(self, _tag: str, attributes: XmlAttributes) -> None:
        self._metadata.declares_failures |= _has_failed(attributes)

    def _open_counters(self, _tag: str, attributes: XmlAttributes) -> None:
        self._declare(attributes, _DECLARED.items())


def _end_error(result: _OpenResult) -> None:
    """End the line of the message, because a run can have several errors."""
    result.message.add("\n")


def _has_failed(run: XmlAttributes) -> bool:
    """Return whether the run has an outcome, and it is a failure."""
    return bool(run.get("outcome")) and states_failure(_status_of(run["outcome"]))


def _status_of(outcome: str) -> ResultStatus:
    """Return the status of an outcome, or an unknown outcome itself, which ingest stores as an error."""
    return _STATUS_OF.get(outcome) or status_of_word(outcome)
