"""Conversion of reports in tests, with the validation that ingest performs."""

from pathlib import Path
from typing import Any, Final

import orjson
from pydantic import TypeAdapter, ValidationError

from service.ingest.contract import ResultIn
from service.ingest.parse_results import read_statuses
from service.reports.conversion.convert import ReportSummary, convert
from service.reports.model import MAX_REPORT_ROWS
from service.reports.streams.chunks import read_chunks

RESULTS: Final = TypeAdapter(list[ResultIn])
FAILING: Final = ("failed", "error")


def convert_all(
    source: Path, folder: Path, content_type: str | None = None, max_rows: int = MAX_REPORT_ROWS
) -> tuple[ReportSummary, list[ResultIn]]:
    """Return the summary and the validated results."""
    target = folder / "results"
    summary = convert(source, target, content_type, max_rows)
    return summary, [result for chunk in read_chunks(target) for result in _validate(chunk)]


def _validate(chunk: bytes) -> list[ResultIn]:
    try:
        return RESULTS.validate_json(chunk)
    except ValidationError:
        results = orjson.loads(chunk)
        return RESULTS.validate_python([read_statuses(each)[0] if isinstance(each, dict) else each for each in results])


def convert_text(text: str | bytes, folder: Path) -> tuple[ReportSummary, list[Any]]:
    source = folder / "report"
    source.write_bytes(text.encode() if isinstance(text, str) else text)
    return convert_all(source, folder)


def convert_cases(cases: str, folder: Path, suite: str = 'name="shop"') -> list[Any]:
    """Return the results of a JUnit XML suite with these cases."""
    return convert_text(f"<testsuites><testsuite {suite}>{cases}</testsuite></testsuites>", folder)[1]


def is_flaky(result: ResultIn) -> bool:
    earlier = (result.get("attempts") or [])[:-1]
    return result["status"] == "passed" and any(attempt["status"] in FAILING for attempt in earlier)
