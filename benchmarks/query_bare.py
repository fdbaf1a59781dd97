"""The references of the benchmark of requests: minimal handlers that return the same fields as the service.

    /results/ID?limit=N     the results after a result
    /failures/ID?limit=N    the failed results after a result
    /runs/ID?limit=N        the runs before the run of a result
    /result/ID              one result

Each handler executes one plain statement and writes its rows with orjson: without keys, filters, scan budgets, limits
of the size, or cursors. Nothing of the service is imported, so that no change of the service changes these handlers.
The benchmark compares their documents with those of the service before it measures.
"""

import os
from collections.abc import Callable, Sequence
from datetime import datetime, timedelta
from typing import Any, Final, NamedTuple
from uuid import UUID

import asyncpg
import orjson
import uvloop
from aiohttp import web

ORG: Final = 1
CONNECTIONS: Final = 10
SESSION: Final = {
    "role": "results_api", "application_name": "results_api", "app.org_id": str(ORG), "jit": "off",
    "enable_bitmapscan": "off", "random_page_cost": "1.1", "plan_cache_mode": "force_generic_plan",
}  # fmt: skip
STATUSES: Final = {b"p": "passed", b"f": "failed", b"e": "error", b"s": "skipped", b"c": "canceled"}
UNKNOWN_START: Final = -(2**31)

RESULT_COLUMNS: Final = """
    fact.run_key, fact.case_key, fact.status, fact.flaky, fact.attempts, nullif(fact.duration_ms, -1),
    fact.started_offset_ms, c.case_id, c.variant, c.suite, c.name, c.file, d.summary, d.fingerprint, run.run_id,
    run.project_id, run.environment, run.branch, run.commit_sha, run.completed_at, run.trusted IS NOT FALSE
"""
DETAIL_COLUMNS: Final = "d.line, d.properties, d.logs_ref, d.status, d.type, d.message, d.details"
RUN_COLUMNS: Final = """
    run.run_id, run.project_id, run.environment, run.branch, run.base_branch, run.commit_sha, run.pull_request,
    run.ci_url, run.pipeline, run.title, run.author, run.workflow, run.job_url, run.repository_url,
    run.failures_missing, run.complete, run.expected_results, run.expected_shards, run.revision, run.duration_ms,
    run.results_expired, run.pinned, run.passed, run.failed, run.error, run.skipped, run.canceled, run.flaky,
    run.status, run.labels, run.started_at, run.completed_at, run.last_completed_at, run.trusted
"""
RUN_FIELDS: Final = [column.strip().removeprefix("run.") for column in RUN_COLUMNS.split(",")]
SLUG: Final = "(SELECT slug FROM organizations WHERE org_id = $1)"
COUNTS: Final = ("passed", "failed", "error", "skipped", "canceled", "flaky")
# PostgreSQL opens only the months from {first_key} to $2.
JOINED: Final = """
    JOIN runs run ON run.org_id = $1 AND run.run_key = fact.run_key
    JOIN cases c ON c.org_id = $1 AND c.case_key = fact.case_key
    LEFT JOIN LATERAL (
        SELECT * FROM result_details d
        WHERE (fact.status <> 'p' OR fact.flaky) AND d.org_id = $1 AND d.run_key = fact.run_key
          AND d.case_key = fact.case_key AND d.run_key BETWEEN {first_key} AND $2 AND (d.is_last_attempt OR d.flaky)
        LIMIT 1
    ) d ON true
"""


class Reference(NamedTuple):
    """A statement, a function that returns its parameters for a key and a limit, and one that writes a row."""

    sql: str
    parameters: Callable[[UUID, int, int], Sequence[Any]]
    write: Callable[[Sequence[Any]], dict[str, Any]]


def write_result(row: Sequence[Any]) -> dict[str, Any]:
    """Return the public object of a result."""
    (
        run_key, case_key, status, flaky, attempts, duration_ms, offset_ms, case_id, variant, suite, name, file,
        summary, fingerprint, run_id, project_id, environment, branch, commit_sha, completed, trusted,
    ) = row  # fmt: skip
    started = None if offset_ms == UNKNOWN_START else completed + timedelta(milliseconds=offset_ms)
    digits = _digits(case_key)
    return {
        "id": f"res_{run_key.hex}{digits}", "run_id": run_id, "project_id": project_id, "environment": environment,
        "branch": branch, "commit_sha": commit_sha, "case": f"case_{digits}", "case_id": case_id,
        "variant": orjson.loads(variant), "suite": suite, "name": name, "file": file, "status": STATUSES[status],
        "flaky": flaky, "attempts": attempts, "duration_ms": duration_ms, "started_at": _time(started),
        "completed_at": _time(completed), "failure_summary": summary,
        "fingerprint": None if fingerprint is None else f"fp1_{_digits(fingerprint)}", "trusted": trusted,
    }  # fmt: skip


def write_run(row: Sequence[Any]) -> dict[str, Any]:
    """Return the public object of a run."""
    *values, organization_id = row
    run = dict(zip(RUN_FIELDS, values, strict=True))
    return {
        "id": run["run_id"], "organization_id": organization_id, "counts": {name: run.pop(name) for name in COUNTS},
        **run, "status": STATUSES[run["status"]], "labels": orjson.loads(run["labels"]),
        "started_at": _time(run["started_at"]), "completed_at": _time(run["completed_at"]),
        "last_completed_at": _time(run["last_completed_at"]), "trusted": run["trusted"] is not False,
    }  # fmt: skip


def write_detail(row: Sequence[Any]) -> dict[str, Any]:
    """Return the public object of a result with its only attempt."""
    last = len(row) - len(RUN_FIELDS) - 1
    line, properties, logs_ref, status, type_, message, details = row[last - 7 : last]
    result = write_result(row[: last - 7])
    failure = None if status is None else {"type": type_, "message": message, "details": details}
    attempt = {
        "attempt": 1, "status": STATUSES.get(status, result["status"]), "duration_ms": result["duration_ms"],
        "started_at": result["started_at"], "failure": failure, "logs_ref": logs_ref, "job_attempt": None,
    }  # fmt: skip
    return {
        **result, "line": line, "properties": orjson.loads(properties or "{}"), "logs_ref": logs_ref,
        "failure": failure, "part": None, "attempt_details": [attempt], "run": write_run(row[last:]),
        "artifacts_url": f"{os.environ['RESULTS_PUBLIC_URL']}/v1/results/{result['id']}/artifacts",
    }  # fmt: skip


def _first_key(run: UUID, days: int) -> UUID:
    """Return the first key of the days before a run. A key begins with the completion time in 48 bits."""
    return UUID(int=run.int - (days * 86_400_000 << 80))


REFERENCES: Final = {
    "results": Reference(
        f"SELECT {RESULT_COLUMNS} FROM (SELECT * FROM results WHERE org_id = $1 AND (run_key, case_key) < ($2, $3)"
        " AND run_key >= $4 ORDER BY run_key DESC, case_key DESC LIMIT $5) fact"
        f" {JOINED.format(first_key='$4')} ORDER BY fact.run_key DESC, fact.case_key DESC",
        lambda run, case, limit: (ORG, run, case, _first_key(run, 31), limit), write_result,
    ),
    "failures": Reference(
        f"SELECT {RESULT_COLUMNS} FROM (SELECT run_key, case_key FROM result_details WHERE org_id = $1 AND status = 'f'"
        " AND is_last_attempt AND status <> 'p' AND (run_key, case_key) < ($2, $3) AND run_key >= $4"
        " ORDER BY run_key DESC, case_key DESC LIMIT $5) key CROSS JOIN LATERAL (SELECT * FROM results r WHERE"
        " r.org_id = $1 AND r.run_key = key.run_key AND r.case_key = key.case_key AND r.run_key >= $4 LIMIT 1) fact"
        f" {JOINED.format(first_key='$4')} ORDER BY key.run_key DESC, key.case_key DESC",
        lambda run, case, limit: (ORG, run, case, _first_key(run, 400), limit), write_result,
    ),
    "runs": Reference(
        f"SELECT {RUN_COLUMNS}, {SLUG} FROM runs run WHERE org_id = $1 AND run_key < $2 ORDER BY run_key DESC LIMIT $3",
        lambda run, _, limit: (ORG, run, limit), write_run,
    ),
    "result": Reference(
        f"SELECT {RESULT_COLUMNS}, {DETAIL_COLUMNS}, {RUN_COLUMNS}, {SLUG} FROM results fact"
        f" {JOINED.format(first_key='$2')} WHERE fact.org_id = $1 AND fact.run_key = $2 AND fact.case_key = $3",
        lambda run, case, _: (ORG, run, case), write_detail,
    ),
}  # fmt: skip


async def make_app() -> web.Application:
    """Return an application with a handler for each reference."""
    pool = await asyncpg.create_pool(
        os.environ["RESULTS_DATABASE_URL"], min_size=0, max_size=CONNECTIONS, reset=_keep_session,
        server_settings=SESSION,
    )  # fmt: skip

    async def handle(request: web.Request) -> web.Response:
        reference, result_id = REFERENCES[request.match_info["kind"]], request.match_info["id"]
        run, case = UUID(hex=result_id[4:36]), int.from_bytes(bytes.fromhex(result_id[36:]), "big", signed=True)
        async with pool.acquire() as connection:
            rows = await connection.fetch(
                reference.sql, *reference.parameters(run, case, int(request.query.get("limit", 1)))
            )
        objects = [reference.write(tuple(row)) for row in rows]
        document = {"data": objects} if "limit" in request.query else objects[0]
        return web.Response(body=orjson.dumps(document), content_type="application/json")

    app = web.Application()
    app.router.add_get("/{kind}/{id}", handle)
    return app


async def _keep_session(_: object) -> None:
    return None


def _digits(signed: int) -> str:
    return f"{signed & 0xFFFF_FFFF_FFFF_FFFF:016x}"


def _time(time: datetime | None) -> str | None:
    return None if time is None else f"{time.isoformat(timespec='milliseconds')[:-6]}Z"


if __name__ == "__main__":
    uvloop.install()
    web.run_app(make_app(), host="127.0.0.1", port=int(os.environ["RESULTS_HTTP_PORT"]), print=None, access_log=None)
