"""Conversion of a test point of TAP, with its diagnostics, to a result."""

from collections.abc import Callable
from typing import Final

from service.contracts.run_events import Failure, ResultIn
from service.domain.statuses import ResultStatus
from service.reports.metadata import ReportMetadata
from service.reports.output import set_output
from service.reports.paths import Checkout
from service.reports.readers.tap_diagnostics import Diagnostics
from service.reports.readers.tap_levels import OpenPoint
from service.reports.suites import SUITE_LEVEL_NAME
from service.reports.times import milliseconds

_NO_FAILURE: Final = "The test point of the subtest failed, but none of the test points in it."


def case_of(opened: OpenPoint, file: str | None, label_of: Callable[[], str], metadata: ReportMetadata) -> ResultIn:
    """Return the result of a test point. `label_of` returns its suite for the heading of its output."""
    point, diagnostics = opened.point, opened.diagnostics
    status: ResultStatus = "failed" if point.fails else "skipped" if point.directive else "passed"
    result: ResultIn = {"name": opened.name, "status": status}
    if opened.has_yaml or point.duration_ms:
        _add_duration(result, point.duration_ms or diagnostics.duration_ms, metadata)
    if file:
        result["file"] = metadata.checkout.file_of(file)
    if status == "passed":
        return result
    failure: Failure = diagnostics.failure
    if point.directive and point.reason:
        failure = {**failure, "message": point.reason}
    if failure:
        result["failure"] = failure
    _add_location(result, diagnostics, metadata.checkout)
    if status == "failed" and opened.output:
        set_output(result, metadata.output.add(f"{label_of()} {opened.name}", [("output.txt", opened.output)]))
    return result


def suite_failure_of(opened: OpenPoint, metadata: ReportMetadata) -> ResultIn:
    """Return the failure of a test point with a subtest as a separate result, so that it isn't lost."""
    failure = opened.diagnostics.failure or {"message": _NO_FAILURE}
    result: ResultIn = {"name": SUITE_LEVEL_NAME, "status": "failed", "failure": failure}
    _add_location(result, opened.diagnostics, metadata.checkout)
    return result


def _add_duration(result: ResultIn, written: str, metadata: ReportMetadata) -> None:
    duration_ms = milliseconds(f"{written}e-3") if written else None
    if duration_ms is not None:
        result["duration_ms"] = duration_ms
    elif written:
        metadata.unreadable.add(written)


def _add_location(result: ResultIn, diagnostics: Diagnostics, checkout: Checkout) -> None:
    """Add the file, unless it is known, and the line if it is in this file."""
    location = diagnostics.location
    if location is None:
        return
    file = checkout.file_of(location.file.removeprefix("./"))
    if result.setdefault("file", file) == file:
        result["line"] = location.line
