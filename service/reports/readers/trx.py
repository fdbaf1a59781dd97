"""Streaming reader of TRX, the XML format of Visual Studio and `dotnet test --logger trx`.

The file is read twice: the classes and the properties of the tests can be after the results.
"""

from collections.abc import Iterator
from functools import partial
from typing import BinaryIO, Final, cast

from service.contracts.run_events import ResultIn
from service.domain.statuses import ResultStatus, read_status, states_failure
from service.reports.attachments import MAX_ATTACHMENTS, Attachment, references
from service.reports.bounded_text import BoundedText
from service.reports.metadata import ReportMetadata
from service.reports.output import set_output
from service.reports.paths import portable_name
from service.reports.readers.trx_definitions import KINDS, ROOTS, TITLE, DefinitionReader, Definitions
from service.reports.readers.trx_results import OpenResult
from service.reports.suites import SUITE_LEVEL_NAME
from service.reports.times import timespan_ms, utc_timestamp
from service.reports.xml_reader import XmlAttributes, XmlReader, read_xml

_RESULTS: Final = (*(f"{kind}TestResult" for kind in KINDS), "TestResult", "TestResultAggregation")
_TEXT_OUTPUTS: Final = {"StdOut": "stdout.txt", "StdErr": "stderr.txt", "DebugTrace": "debug-trace.txt"}
_MESSAGES: Final = "messages.txt"
# The outcomes that only TRX has. A result without an outcome has the first value of the enumeration, which is `Error`.
_STATUS_OF: Final[dict[str, ResultStatus]] = {
    **dict.fromkeys(("PassedButRunAborted", "Warning", "Completed"), "passed"),
    **dict.fromkeys(("", "NotRunnable"), "error"),
    "InProgress": "canceled",
}
_COUNT_OF: Final = {"passed": "passed", "failed": "failures", "error": "errors", "skipped": "skipped"}
_DECLARED: Final = {
    "total": "tests",
    "failed": "failures",
    **dict.fromkeys(("error", "timeout", "aborted", "inconclusive", "disconnected", "notRunnable"), "errors"),
}


def read(source: BinaryIO, metadata: ReportMetadata) -> Iterator[list[ResultIn]]:
    """Yield the results in lists of bounded size. Raises ReportError if the file isn't well-formed TRX."""
    definitions = Definitions()
    for _ in read_xml(source, partial(DefinitionReader, definitions, metadata), metadata):
        pass  # definitions aren't results
    source.seek(0)
    yield from read_xml(source, partial(_ResultReader, definitions, metadata), metadata)
    metadata.add_notes()


class _ResultReader(XmlReader):
    """Converts the results, and the summary of the run."""

    def __init__(self, definitions: Definitions, metadata: ReportMetadata, encoding: str) -> None:
        super().__init__(encoding, ROOTS, TITLE)
        self._definitions = definitions
        self._metadata = metadata
        self._open_results: list[OpenResult] = []
        self._run = OpenResult({})
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
            "TextMessages": _ignore,
        }

    def finish(self) -> list[ResultIn]:
        """End the document, and return the error of the run if no result states why the run failed."""
        results = super().finish()
        counted, error = self._metadata.counted, self._run.failure
        not_passed = counted["tests"] - counted["passed"]
        if error and not self._metadata.contains_failures:
            self._metadata.contains_failures = True
            results.append({"suite": "", "name": SUITE_LEVEL_NAME, "status": "error", "failure": error})
            not_passed += 1
        if not_passed:
            self._metadata.output.add_suite("run", self._run.outputs.items())
        return results

    def _open_result(self, _tag: str, attributes: XmlAttributes) -> OpenResult:
        result = OpenResult(attributes)
        self._open_results.append(result)
        return result

    def _open_other(self, tag: str, attributes: XmlAttributes) -> OpenResult | None:
        """Open the result of an unknown kind of test, so that it isn't lost."""
        return self._open_result(tag, attributes) if tag.endswith("TestResult") else None

    def _close_other(self, _tag: str, opened: OpenResult) -> None:
        self._close_result(opened)

    def _open_error(self, _tag: str, _attributes: XmlAttributes) -> OpenResult | None:
        return self._open_results[-1] if self._open_results else None

    def _open_run_info(self, _tag: str, attributes: XmlAttributes) -> OpenResult | None:
        return self._run if _has_failed(attributes) else None

    def _open_text(self, tag: str, _attributes: XmlAttributes) -> BoundedText | None:
        """Collect the text of an error, or a message that belongs to no error. Other elements can have these names."""
        parent: OpenResult | BoundedText | None = self._open[-1]
        if parent is None:
            return None
        if isinstance(parent, OpenResult):
            parent = parent.stack if tag == "StackTrace" else parent.message
        self._push_text_handler(parent.add)
        return parent

    def _close_text(self, text: BoundedText) -> None:
        self._pop_text_handler()
        if text is self._open[-1]:  # a list of messages
            text.add("\n")

    def _open_output(self, tag: str, _attributes: XmlAttributes) -> BoundedText:
        text = self._output_text(_TEXT_OUTPUTS[tag])
        self._push_text_handler(text.add)
        return text

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

    def _close_result(self, opened: OpenResult) -> None:
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
            set_output(result, metadata.output.add(f"{suite} {result['name']}", opened.outputs.items()))
        metadata.counted.update(("tests", _COUNT_OF.get(status, "other")))
        metadata.contains_failures |= states_failure(status)
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
        self._metadata.declares_failures |= _has_failed(attributes)

    def _open_counters(self, _tag: str, attributes: XmlAttributes) -> None:
        for name, count_name in _DECLARED.items():
            if attributes.get(name, "").isdecimal():
                self._metadata.declare(count_name, int(attributes[name][:9]))


def _status_of(outcome: str) -> ResultStatus:
    """Return the status of an outcome, or an unknown outcome itself, which ingest stores as an error."""
    return _STATUS_OF.get(outcome) or read_status(outcome) or cast("ResultStatus", outcome)


def _has_failed(run: XmlAttributes) -> bool:
    """Return whether the run has an outcome, and it is a failure."""
    return bool(run.get("outcome")) and states_failure(_status_of(run["outcome"]))


def _end_error(result: OpenResult) -> None:
    """End the line of the message, because a run can have several errors."""
    result.message.add("\n")


def _ignore(_opened: BoundedText) -> None:
    """Do nothing at the end of an element."""
