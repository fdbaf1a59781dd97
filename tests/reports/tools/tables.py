"""The cases of a report as a table, to compare it with the text of the report."""

from datetime import datetime
from pathlib import Path
from typing import NamedTuple

from tests.reports.conversions import convert_all
from tests.reports.tools.reading import read_run


class Row(NamedTuple):
    """The values of a case that lists show."""

    suite: str
    name: str
    status: str
    duration_ms: int | None
    summary: str | None


def rows_of(path: Path) -> list[Row]:
    """Return the cases in the order of the report."""
    return [Row(case.suite, case.name, case.status, case.duration_ms, case.summary) for case in read_run(path).cases]


def run_times(path: Path, folder: Path) -> tuple[str | None, str | None, float | None]:
    """Return the start, the end, and the duration in ms that the report states."""
    summary, _ = convert_all(path, folder)
    return _iso(summary.times[0].started_at), _iso(summary.completed_at), summary.times[0].duration_ms


def _iso(time: datetime | None) -> str | None:
    return time.isoformat(timespec="milliseconds").replace("+00:00", "Z") if time else None
