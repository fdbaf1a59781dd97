"""A row of a result for tests without a database."""

from uuid import UUID

from service.domain.ids import CaseKey, RunKey
from service.domain.rows import ResultRow

RESULT = ResultRow(
    run_key=RunKey(UUID(int=1)),
    case_key=CaseKey(1),
    run_id="run_1",
    project_id="shop",
    environment=None,
    branch=None,
    case_id=None,
    variant={},
    suite="",
    name="pays",
    file=None,
    status="passed",
    flaky=False,
    attempts=1,
    duration_ms=None,
    started_ms=None,
    completed_ms=1_779_278_400_000,  # 2026-05-20T12:00:00Z
    failure_summary=None,
)
