"""Conversion of one report file into a file of native results."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any, BinaryIO, Final

from service.domain.statuses import states_failure
from service.reports.conversion.errors import ReportError, malformed, unreadable, unsupported
from service.reports.conversion.metadata import ReportMetadata, RunTimes
from service.reports.conversion.names import Checkout, make_portable, relative_path
from service.reports.conversion.output import OutputWriter
from service.reports.format_table import ReportFormatName, detect_format, normalize_media_type
from service.reports.formats import READERS, ReportReader
from service.reports.found_files import BEHIND_TEXT, is_behind_text
from service.reports.model import MAX_REPORT_ROWS
from service.reports.other_formats import find_by_start
from service.reports.report_heads import HEAD_BYTES, ReportHead
from service.reports.streams.chunks import ChunkWriter
from service.reports.streams.xml import InvalidXml

_OWN_FORMATS: Final = ("json", "ndjson")  # whose producers decide the names


@dataclass(frozen=True, slots=True)
class ReportSummary:
    """The metadata of a converted report. `run` contains unvalidated fields of RunIn.

    `times` has the times of each report of an upload. `failures_missing` states that the report declares more failures
    than it contains, so that its results don't show the outcome of the run.
    """

    format: ReportFormatName
    results: int
    rows: int  # results, listed attempts, and artifacts
    run: Mapping[str, Any]
    times: tuple[RunTimes, ...]
    declared: Mapping[str, int]
    notes: tuple[str, ...]
    failures_missing: bool

    @property
    def completed_at(self) -> datetime | None:
        """The last end that a report states."""
        return max((times.completed_at for times in self.times if times.completed_at), default=None)


def append_results(
    report: BinaryIO,
    target: BinaryIO,
    content_type: str | None,
    max_rows: int,
    output: OutputWriter,
    checkout: Checkout,
) -> ReportSummary:
    """Append the results of a report to `target` (see chunks.py), in memory that doesn't grow with the report.

    The output of results that didn't pass is written to `output`. A report that isn't well-formed XML is read again
    while its invalid characters are replaced: to search for them in every report takes up to 10 % of the CPU time.

    Raises ReportError, with the fields of the run that were read before the error, if the report can't be read to its
    end or is too large, so that no partial run is stored.
    """
    mark, start = output.mark(), target.tell()
    try:
        return _convert(report, target, content_type, max_rows, output, checkout, repairs=False)
    except InvalidXml:
        report.seek(0)
        output.rewind(mark)
        target.seek(start)
        target.truncate()
        return _convert(report, target, content_type, max_rows, output, checkout, repairs=True)


def _convert(
    report: BinaryIO,
    target: BinaryIO,
    content_type: str | None,
    max_rows: int,
    output: OutputWriter,
    checkout: Checkout,
    *,
    repairs: bool,
) -> ReportSummary:
    metadata = ReportMetadata()
    try:
        read, metadata = open_report(report, content_type)
        metadata.checkout, metadata.output, metadata.repairs = checkout, output, repairs
        writer = ChunkWriter(target, max_rows)
        for results in read(report, metadata):
            if metadata.format not in _OWN_FORMATS or metadata.portable_names:
                make_portable(results)
            if metadata.format in _OWN_FORMATS and checkout.prefix:
                _add_prefix(results, metadata.checkout)
            if checkout.owners:
                checkout.owners.apply(results)
            metadata.failing += sum(map(_fails, results))
            writer.add(results)
        metadata.add_notes()
        if checkout.owners:
            metadata.notes += checkout.owners.take_notes()
        writer.finish()
    except ReportError as error:
        raise ReportError(error.reason, error.message, metadata.run) from None
    except RecursionError:
        raise malformed("a value is nested too deep") from None
    return ReportSummary(
        format=metadata.format,
        results=writer.results,
        rows=writer.rows,
        run=metadata.run,
        times=(metadata.times,),
        declared=metadata.declared,
        notes=tuple(metadata.notes),
        failures_missing=metadata.failures_missing,
    )


def open_report(report: BinaryIO, content_type: str | None) -> tuple[ReportReader, ReportMetadata]:
    """Return the reader of a report and the metadata object for it. Leave the file at its start.

    Raises ReportError if the file is empty or in no supported format.
    """
    first_bytes = report.read(HEAD_BYTES)
    report.seek(0)
    if not first_bytes:
        raise malformed("the report is empty")
    head = ReportHead(first_bytes)
    detected = detect_format(content_type, first_bytes)
    # Before its first event, `go test -json` can write text, such as `FAIL shop [build failed]`.
    is_go_test = detected is not None and detected.name == "go-test"
    if not is_go_test and (of_other_tool := find_by_start(head)):
        raise unreadable(of_other_tool)
    if not (detected and detected.matches(head)) and is_behind_text(normalize_media_type(content_type), head):
        raise ReportError("unsupported_format", BEHIND_TEXT)
    if detected is None:
        raise unsupported("the report has none of the supported media types and starts with unknown bytes")
    return READERS[detected.name], ReportMetadata(format=detected.name)


def _add_prefix(results: Iterable[Any], checkout: Checkout) -> None:
    """Add the prefix to the relative files of native results. Ingest rejects values of other types."""
    for result in results:
        file = result.get("file") if isinstance(result, dict) else None
        if isinstance(file, str) and file and relative_path(file) is not None:
            result["file"] = checkout.file_of(file)


def _fails(result: Any) -> bool:
    """Return whether a result, which isn't validated, is stored as failing."""
    status = result.get("status") if isinstance(result, dict) else None
    return status != "passed" and states_failure(status)


def convert(
    source: Path, target: Path, content_type: str | None = None, max_rows: int = MAX_REPORT_ROWS,
    output: OutputWriter | None = None, root: str | None = None, prefix: str = "",
) -> ReportSummary:  # fmt: skip
    """Write the results of a report to `target`. Deletes the target if it raises ReportError, as `append_results`."""
    try:
        with source.open("rb") as report, target.open("wb") as file:
            checkout = Checkout.of(root, prefix)
            return append_results(report, file, content_type, max_rows, output or OutputWriter(), checkout)
    except BaseException:
        target.unlink(missing_ok=True)
        raise
