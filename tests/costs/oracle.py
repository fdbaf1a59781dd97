"""Costs by a second implementation, which reads all results of the trusted runs of a project one by one."""

from collections import defaultdict
from datetime import date
from typing import Any

import asyncpg

from service.costs.model import CostSums

RUNS = (
    "SELECT org_id, run_key, (completed_at AT TIME ZONE 'UTC')::date AS day FROM runs"
    " WHERE project_id = $1 AND trusted IS NOT FALSE AND NOT results_expired"
)
DETAILS = (
    "SELECT status::text, duration_ms, is_last_attempt FROM result_details"
    " WHERE run_key = $1 AND case_key = $2 ORDER BY attempt"
)
FAILING = ("f", "e")

Key = tuple[date, str]
Totals = dict[Key, CostSums]


def add(totals: Totals, key: Key, **values: int) -> None:
    sums = totals.get(key, CostSums())
    totals[key] = sums._replace(**{name: getattr(sums, name) + value for name, value in values.items()})


def cost_of(status: str, count: int, stated: int, listed: list[tuple[str, int]], *, repeated: bool) -> dict[str, int]:
    """Return the costs of one outcome. `repeated`: a later attempt of the job executed the case."""
    executions = count - (status == "s")
    known = [duration for each, duration in listed if duration >= 0]
    total = sum(known) if known else -1
    timed = sum(1 for each, duration in listed if duration >= 0 and each != "s")
    unknown = 0 if stated > total else max(0, executions - timed)
    failing = [
        duration for each, duration in (listed if repeated else listed[:-1]) if each in FAILING and duration >= 0
    ]
    return {
        "attempts": executions,
        "unknown_durations": unknown,
        "duration_ms": max(stated, total, 0),
        "retry_ms": sum(failing),
    }


async def expected_costs(pool: asyncpg.Pool, project_id: str) -> tuple[Totals, Totals]:
    """Return the sums by day and case, and by day and job."""
    cases: Totals = {}
    jobs: Totals = {}
    for run in await pool.fetch(RUNS, project_id):
        parts = {row["number"]: row for row in await pool.fetch("SELECT * FROM run_parts WHERE run_key = $1", run[1])}
        names: dict[int, str] = defaultdict(str, {number: row["name"] for number, row in parts.items()})
        for row in await pool.fetch("SELECT *, status::text AS code FROM results WHERE run_key = $1", run["run_key"]):
            status = {"p": "passed", "f": "failed", "e": "error", "s": "skipped", "c": "canceled"}[row["code"]]
            counts = {status: 1, "flaky": int(row["flaky"])}
            case_of, job_of = (run["day"], str(row["case_key"])), (run["day"], names[row["shard"]])
            add(cases, case_of, **counts)
            add(jobs, job_of, **counts)
            for number, costs in await outcomes_of(pool, row, parts):
                add(cases, case_of, **costs)
                add(jobs, (run["day"], names[number]), **costs)
    return cases, jobs


async def outcomes_of(pool: asyncpg.Pool, row: Any, parts: dict[int, Any]) -> list[tuple[int, dict[str, int]]]:
    """Return the costs of each stored outcome of a result, with the number of its part."""
    query = "SELECT shard, result FROM shard_results WHERE run_key = $1 AND case_key = $2"
    stored = {each["shard"]: each["result"] for each in await pool.fetch(query, row["run_key"], row["case_key"])}
    if not stored:
        details = await pool.fetch(DETAILS, row["run_key"], row["case_key"])
        listed = [(each["status"], each["duration_ms"]) for each in details]
        return [(row["shard"], cost_of(row["code"], row["attempts"], row["duration_ms"], listed, repeated=False))]
    found = []
    for number, document in stored.items():
        own = parts.get(number)
        later = [
            other for other in stored if own and other in parts and stored[other]["status"] != "s"
            and all(parts[other][name] == own[name] for name in ("name", "variant", "shard"))
            and parts[other]["attempt"] > own["attempt"]
        ]  # fmt: skip
        listed = [(each["status"], each["duration_ms"]) for each in document["attempts"]]
        cost = cost_of(
            document["status"], document["attempt_count"], document["duration_ms"], listed, repeated=bool(later)
        )
        found.append((number, cost))
    return found


async def stored_costs(pool: asyncpg.Pool, project_id: str) -> tuple[Totals, Totals]:
    """Return the stored sums by first day and case, and by first day and job."""
    columns = ", ".join(CostSums._fields)
    found = []
    for key, table in (("case_key", "case_costs"), ("job", "job_costs")):
        rows = await pool.fetch(f"SELECT start, {key}, {columns} FROM {table} WHERE project_id = $1", project_id)
        found.append({(row[0], str(row[1])): CostSums(*row[2:]) for row in rows})
    return found[0], found[1]
