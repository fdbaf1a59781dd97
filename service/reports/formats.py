"""The reader of each report format."""

from collections.abc import Callable, Iterator
from typing import BinaryIO

from service.contracts.run_events import ResultIn
from service.domain.found_files import BEHIND_TEXT, is_behind_text
from service.domain.other_formats import find_by_start
from service.domain.report_formats import ReportFormatName, detect_format, normalize_media_type
from service.domain.report_heads import HEAD_BYTES, ReportHead
from service.reports.errors import ReportError, malformed, unreadable, unsupported
from service.reports.metadata import ReportMetadata
from service.reports.readers import (
    allure,
    cucumber,
    go_test,
    jest,
    json_reports,
    junit,
    mochawesome,
    nunit,
    playwright,
    pytest_json,
    robot,
    tap,
    testng,
    trx,
    xunit,
)

ReportReader = Callable[[BinaryIO, ReportMetadata], Iterator[list[ResultIn]]]

# CTRF and the native formats share one reader, because only a later key of the document distinguishes them.
READERS: dict[ReportFormatName, ReportReader] = {
    "trx": trx.read,
    "robot": robot.read,
    "nunit": nunit.read,
    "xunit": xunit.read,
    "testng": testng.read,
    "junit": junit.read,
    "go-test": go_test.read,
    "tap": tap.read,
    "playwright": playwright.read,
    "cucumber": cucumber.read,
    "pytest-json": pytest_json.read,
    "jest": jest.read,
    "mochawesome": mochawesome.read,
    "allure": allure.read,
    "ctrf": json_reports.read,
    "json": json_reports.read,
    "ndjson": json_reports.read,
}


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
