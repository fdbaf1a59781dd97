"""Rows of runs and results for tests without a database."""

from typing import Any
from uuid import UUID

from service.domain.ids import CaseKey, RunKey
from service.domain.statuses import Counts, ResultStatus
from service.results.rows import ResultRow, RunOfResults
from service.runs.model import RunRow

_RUN = RunOfResults(
    run_key=RunKey(UUID(int=1)),
    run_id="run_1",
    project_id="shop",
    environment=None,
    branch=None,
    commit_sha=None,
    completed_ms=1_779_278_400_000,
    completed_at="2026-05-20T12:00:00.000Z",
)


def result_row(status: ResultStatus = "passed", run_id: str = "run_1", *, flaky: bool = False) -> ResultRow:
    """Return a result of a run."""
    return ResultRow(
        run=_RUN._replace(run_id=run_id),
        case_key=CaseKey(1),
        case_id=None,
        variant={},
        suite="",
        name="pays",
        file=None,
        status=status,
        flaky=flaky,
        attempts=1,
        duration_ms=None,
        started_ms=None,
        failure_summary=None,
        fingerprint=None,
    )


def run_row(number: int = 1, **fields: Any) -> RunRow:
    """Return a complete run with one passed result."""
    run = dict.fromkeys(RunRow._fields) | {
        "run_key": RunKey(UUID(int=number)),
        "run_id": f"run_{number}",
        "project_id": "shop",
        "status": "passed",
        "complete": True,
        "failures_missing": False,
        "counts": Counts(passed=1),
        "revision": 1,
    }
    return RunRow(**{**run, **fields})
