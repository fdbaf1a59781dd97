"""Conversion of reports in tests, with the validation that ingest performs."""

from pathlib import Path
from typing import Any, Final

from pydantic import TypeAdapter

from service.contracts.run_events import ResultIn
from service.reports.chunks import read_chunks
from service.reports.convert import ReportSummary, convert

RESULTS: Final = TypeAdapter(list[ResultIn])
FAILING: Final = ("failed", "error")


def convert_all(source: Path, folder: Path, content_type: str | None = None) -> tuple[ReportSummary, list[ResultIn]]:
    """Return the summary and the validated results."""
    target = folder / "results"
    summary = convert(source, target, content_type)
    return summary, [result for chunk in read_chunks(target) for result in RESULTS.validate_json(chunk)]


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
