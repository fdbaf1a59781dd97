"""SQL functions that are called per row: the planner inlines them, and they agree with their Python counterparts."""

from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta
from typing import Any

import asyncpg
import pytest
import pytest_asyncio

from service.domain.statuses import SEVERITY, STATUS_NAMES
from service.results.model import UNKNOWN_DURATION_MS, UNKNOWN_START

RUNS = "FROM runs"
LIMITED_RUNS = "FROM (SELECT * FROM runs ORDER BY run_key LIMIT 10) r"  # like the driver of a list
CALLS = {
    "rfc3339": f"rfc3339(completed_at + duration_ms * interval '1 ms') {RUNS}",
    "known_duration": f"known_duration(revision) {RUNS}",
    "known_start": f"known_start(completed_at, revision) {RUNS}",
    "status_name": f"status_name(status) {RUNS}",
    "severity": f"severity(status) {RUNS}",
    "result_id": f"result_id(run_key, duration_ms) {RUNS}",
    "case_public_id": f"case_public_id(duration_ms) {RUNS}",
    "artifact_id": f"artifact_id(run_key, duration_ms, duration_ms) {RUNS}",
    "spreadsheet_cell": f"spreadsheet_cell(branch, false) {RUNS}",
    "delivery_id": f"delivery_id(run_id, branch) {RUNS}",
    "result_count": f"result_count(r, ARRAY[branch]) {LIMITED_RUNS}",
    "run_counts": f"run_counts(r) {LIMITED_RUNS}",
}


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def reader(shared_database_url: str) -> AsyncIterator[Any]:
    """A connection for the tests that only read plans."""
    connection = await asyncpg.connect(shared_database_url)
    yield connection
    await connection.close()


@pytest.fixture
async def owner(database_url: str) -> AsyncIterator[Any]:
    connection = await asyncpg.connect(database_url)
    yield connection
    await connection.close()


async def plan(connection: Any, call: str) -> str:
    return "\n".join(row[0] for row in await connection.fetch(f"EXPLAIN (VERBOSE) SELECT {call}"))


@pytest.mark.one_server
@pytest.mark.parametrize("name", CALLS)
async def test_function_is_inlined(reader: Any, name: str) -> None:
    assert f"{name}(" not in await plan(reader, CALLS[name])


async def test_plan_shows_a_function_that_is_not_inlined(owner: Any) -> None:
    await owner.execute("ALTER FUNCTION status_name STRICT")
    assert "status_name(" in await plan(owner, CALLS["status_name"])


async def test_sql_and_python_agree_on_statuses(owner: Any) -> None:
    rows = await owner.fetch(
        'SELECT code, status_name(code::"char") AS name, severity(code::"char") AS severity'
        " FROM unnest($1::text[]) code",
        list(STATUS_NAMES),
    )
    assert {row["code"]: row["name"] for row in rows} == STATUS_NAMES
    assert {row["name"]: row["severity"] for row in rows} == SEVERITY


async def test_sql_and_python_agree_on_unknown_values(owner: Any) -> None:
    completed_at = datetime(2026, 5, 20, 12, tzinfo=UTC)
    row = await owner.fetchrow(
        "SELECT known_duration($1), known_duration(0), known_start($3, $2), known_start($3, -1)",
        UNKNOWN_DURATION_MS, UNKNOWN_START, completed_at,
    )  # fmt: skip
    assert tuple(row) == (None, 0, None, completed_at - timedelta(milliseconds=1))
