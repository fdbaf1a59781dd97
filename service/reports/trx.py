"""Streaming reader of TRX, the XML format of Visual Studio and `dotnet test --logger trx`.

The file is read twice: the classes of the tests can be after the results.
"""

import re
from collections.abc import Iterator
from functools import partial
from typing import BinaryIO, Final, cast

from service.contracts.run_events import Failure, ResultIn
from service.domain.statuses import FAILING, ResultStatus
from service.reports.attachments import MAX_ATTACHMENTS, Attachment, references
from service.reports.bounded_text import BoundedText
from service.reports.case_classes import CaseClasses
from service.reports.metadata import ReportMetadata
from service.reports.paths import portable_name
from service.reports.suites import MAX_LABEL, SUITE_LEVEL_NAME
from service.reports.times import timespan_ms, utc_timestamp
from service.reports.xml_reader import XmlAttributes, XmlReader, read_xml

_ROOTS: Final = frozenset({"TestRun"})
_TITLE: Final = "TRX"
# The elements of results and definitions are named after the kind of the test.
_KINDS: Final = ("Unit", "Generic", "Manual", "Web", "Load", "Ordered")
_RESULTS: Final = (*(f"{kind}TestResult" for kind in _KINDS), "TestResult", "TestResultAggregation")
_DEFINITIONS: Final = tuple(f"{kind}Test" for kind in _KINDS)

# A result without an outcome has the first value of the enumeration, which is `Error`.
_STATUS_OF: Final[dict[str, ResultStatus]] = {
    **dict.fromkeys(("Passed", "PassedButRunAborted", "Warning", "Completed"), "passed"),
    **dict.fromkeys(("Failed", "Timeout"), "failed"),
    **dict.fromkeys(("", "Error", "Aborted", "Disconnected", "NotRunnable"), "error"),
    **dict.fromkeys(("NotExecuted", "Inconclusive", "Pending"), "skipped"),
    "InProgress": "canceled",
}
_FAILED_RUNS: Final = frozenset({"Failed", "Error", "Timeout", "Aborted", "Disconnected", "NotRunnable"})
_COUNT_OF: Final = {"passed": "passed", "failed": "failures", "error": "errors", "skipped": "skipped"}
_DECLARED: Final = {
    "total": "tests",
    **dict.fromkeys(("failed", "timeout"), "failures"),
    **dict.fromkeys(("error", "aborted", "disconnected", "notRunnable"), "errors"),
}
_ASSEMBLY: Final = re.compile(r", [^,]+, Version=.*")  # after the class, as in "Shop.Cart, Shop, Version=1.0.0.0"


def read(source: BinaryIO, metadata: ReportMetadata) -> Iterator[list[ResultIn]]:
    """Yield the results in lists of bounded size. Raises ReportError if the file isn't well-formed TRX."""
    classes = CaseClasses()
    for _ in read_xml(source, partial(_DefinitionReader, classes)):
        pass  # definitions aren't results
    source.seek(0)
    yield from read_xml(source, partial(_ResultReader, classes, metadata))
    metadata.add_notes()


class _DefinitionReader(XmlReader):
    """Collects the class of each test, or the file name of its assembly if the test has no class."""

    def __init__(self, classes: CaseClasses, encoding: str) -> None:
        super().__init__(encoding, _ROOTS, _TITLE)
        self._classes = classes
        self._class = ""
        self._openers = {**dict.fromkeys(_DEFINITIONS, self._open_test), "TestMethod": self._open_method}
        self._closers = dict.fromkeys(_DEFINITIONS, self._close_test)

    def _open_test(self, _tag: str, attributes: XmlAttributes) -> XmlAttributes:
        self._class = re.split(r"[/\\]", attributes.get("storage", ""))[-1]
        return attributes

    def _open_method(self, _tag: str, attributes: XmlAttributes) -> None:
        self._class = _ASSEMBLY.sub("", attributes.get("className", "")) or self._class

    def _close_test(self, attributes: XmlAttributes) -> None:
        self._classes.add(attributes.get("id", ""), self._class[:MAX_LABEL])


class _OpenResult:
    """An open result, or an error of the run."""

    __slots__ = ("attachments", "attributes", "message", "stack")

    def __init__(self, attributes: XmlAttributes) -> None:
        self.attributes = attributes
        self.message, self.stack = BoundedText(), BoundedText()
        self.attachments: list[Attachment] = []


class _ResultReader(XmlReader):
    """Converts the results, and the summary of the run."""

    def __init__(self, classes: CaseClasses, metadata: ReportMetadata, encoding: str) -> None:
        super().__init__(encoding, _ROOTS, _TITLE)
        self._classes = classes
        self._metadata = metadata
        self._open_results: list[_OpenResult] = []
        self._error_of_run = _OpenResult({})
        self._openers = {
            **dict.fromkeys(_RESULTS, self._open_result),
            "ErrorInfo": self._open_error,
            "RunInfo": self._open_run_info,
            **dict.fromkeys(("Message", "StackTrace", "Text"), self._open_text),
            "ResultFile": self._open_file,
            "Times": self._open_times,
            "ResultSummary": self._open_summary,
            "Counters": self._open_counters,
        }
        self._closers = {
            **dict.fromkeys(_RESULTS, self._close_result),
            **dict.fromkeys(("ErrorInfo", "RunInfo"), _end_error),
            **dict.fromkeys(("Message", "StackTrace", "Text"), self._pop_text_handler),
        }

    def finish(self) -> list[ResultIn]:
        """End the document, and return the error of the run if no result states why the run failed."""
        results = super().finish()
        error = _failure_of(self._error_of_run)
        if error and not self._metadata.contains_failures:
            self._metadata.contains_failures = True
            results.append({"suite": "", "name": SUITE_LEVEL_NAME, "status": "error", "failure": error})
        return results

    def _open_result(self, _tag: str, attributes: XmlAttributes) -> _OpenResult:
        result = _OpenResult(attributes)
        self._open_results.append(result)
        return result

    def _open_error(self, _tag: str, _attributes: XmlAttributes) -> _OpenResult | None:
        return self._open_results[-1] if self._open_results else None

    def _open_run_info(self, _tag: str, attributes: XmlAttributes) -> _OpenResult | None:
        return self._error_of_run if attributes.get("outcome") in _FAILED_RUNS else None

    def _open_text(self, tag: str, _attributes: XmlAttributes) -> BoundedText | None:
        """Collect the text of an error. Other elements, such as TextMessages, contain elements of the same names."""
        parent = self._open[-1]
        if not isinstance(parent, _OpenResult):
            return None
        text = parent.stack if tag == "StackTrace" else parent.message
        self._push_text_handler(text.add)
        return text

    def _open_file(self, _tag: str, attributes: XmlAttributes) -> None:
        if self._open_results and len(self._open_results[-1].attachments) < MAX_ATTACHMENTS:
            result = self._open_results[-1]
            path = attributes.get("path", "").replace("\\", "/")
            folder = result.attributes.get("relativeResultsDirectory")
            result.attachments.append(Attachment(f"{folder}/{path}" if folder else path, path.rpartition("/")[2]))

    def _close_result(self, opened: _OpenResult) -> None:
        self._open_results.pop()
        attributes, metadata = opened.attributes, self._metadata
        suite = self._classes.find(attributes.get("testId", "")) or ""
        name = portable_name(attributes.get("testName", ""))
        outcome = attributes.get("outcome", "")
        status = _STATUS_OF.get(outcome, cast("ResultStatus", outcome))
        result: ResultIn = {"suite": suite, "name": name.removeprefix(f"{suite}.") or suite, "status": status}
        self._add_times(result, attributes)
        failure = _failure_of(opened)
        if failure and status != "passed":
            result["failure"] = failure
        if opened.attachments:
            result["artifacts"] = references(opened.attachments)
        metadata.counted.update(("tests", _COUNT_OF.get(status, "other")))
        metadata.contains_failures |= status in FAILING
        self._results.append(result)

    def _add_times(self, result: ResultIn, attributes: XmlAttributes) -> None:
        if started_at := utc_timestamp(attributes.get("startTime")):
            result["started_at"] = started_at
        if written := attributes.get("duration"):
            duration_ms = timespan_ms(written)
            if duration_ms is None:
                self._metadata.unreadable.add(written)
            else:
                result["duration_ms"] = duration_ms

    def _open_times(self, _tag: str, attributes: XmlAttributes) -> None:
        self._metadata.times.add(utc_timestamp(attributes.get("start")))
        self._metadata.times.set_end(utc_timestamp(attributes.get("finish")))

    def _open_summary(self, _tag: str, attributes: XmlAttributes) -> None:
        self._metadata.declares_failures |= attributes.get("outcome") in _FAILED_RUNS

    def _open_counters(self, _tag: str, attributes: XmlAttributes) -> None:
        for name, count_name in _DECLARED.items():
            if attributes.get(name, "").isdecimal():
                self._metadata.declare(count_name, int(attributes[name][:9]))


def _failure_of(result: _OpenResult) -> Failure:
    texts = (("message", result.message.text.strip()), ("details", result.stack.text.strip("\r\n")))
    return cast("Failure", {name: text for name, text in texts if text})


def _end_error(result: _OpenResult) -> None:
    """End the line of the message, because a run can have several errors."""
    result.message.add("\n")
