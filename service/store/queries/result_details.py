"""One result with its run, its failure, and its attempts."""

from typing import Any

from service.domain.ids import CaseKey, OrgId, RunKey
from service.domain.rows import AttemptRow, FailureRow, ResultDetailRow
from service.store.postgres.composition import compose
from service.store.postgres.database import Connection, Row
from service.store.queries.read_rows import RESULT_COLUMNS, result_row, run_of_results
from service.store.queries.runs import RUN_COLUMNS, run_row


async def find_one(
    connection: Connection, org_id: OrgId, key: tuple[RunKey, CaseKey], project_id: str | None
) -> ResultDetailRow | None:
    """Return one complete result, or None if the organization, or the given project, doesn't have it."""
    run_key, case_key = key
    values = {
        "org_id": org_id, "run_key": run_key, "case_key": case_key, "project_id": project_id,
        "first_key": run_key, "before_run": run_key,
    }  # fmt: skip
    rows = await compose("one_result").fetch_rows(connection, values)
    return _detail(rows[0]) if rows else None


def _detail(row: Row) -> ResultDetailRow:
    organization_id, line, properties, logs_ref, *failure, part, job_attempt, attempts = row[
        RESULT_COLUMNS + RUN_COLUMNS :
    ]
    run = run_row(row[RESULT_COLUMNS:], organization_id)
    result = result_row(
        row[:RESULT_COLUMNS],
        run_of_results(
            run.run_key, run.run_id, run.project_id, run.environment, run.branch, run.commit_sha, run.trusted
        ),
    )
    only = AttemptRow(1, result.status, result.duration_ms, result.started_ms, None, None, job_attempt)
    listed = list(map(_attempt, attempts)) if attempts else [only]
    return ResultDetailRow(result, run, line, properties, logs_ref, _failure(*failure), part, listed)


def _attempt(fields: tuple[Any, ...]) -> AttemptRow:
    number, status, duration_ms, started_ms, *failure, logs_ref, job_attempt = fields
    return AttemptRow(number, status, duration_ms, started_ms, _failure(*failure), logs_ref, job_attempt)


def _failure(type_: str | None, message: str | None, details: str | None) -> FailureRow | None:
    is_known = type_ is not None or message is not None or details is not None
    return FailureRow(type_, message, details) if is_known else None
