"""The planner inlines SQL functions that are called for every row."""

from collections.abc import AsyncIterator
from typing import Any

import asyncpg
import pytest

CALLS = {
    "rfc3339": "rfc3339(completed_at + duration_ms * interval '1 ms')",
    "status_name": "status_name(status)",
    "severity": "severity(status)",
    "result_id": "result_id(run_key, duration_ms)",
    "case_public_id": "case_public_id(duration_ms)",
    "artifact_id": "artifact_id(run_key, duration_ms, duration_ms)",
    "first_line": "first_line(branch)",
    "spreadsheet_cell": "spreadsheet_cell(branch, false)",
    "delivery_id": "delivery_id(run_id, branch)",
}


@pytest.fixture
async def owner(database_url: str) -> AsyncIterator[Any]:
    connection = await asyncpg.connect(database_url)
    yield connection
    await connection.close()


async def planned(connection: Any, call: str) -> str:
    return "\n".join(row[0] for row in await connection.fetch(f"EXPLAIN (VERBOSE) SELECT {call} FROM runs"))


@pytest.mark.parametrize("name", CALLS)
async def test_function_is_inlined(owner: Any, name: str) -> None:
    assert f"{name}(" not in await planned(owner, CALLS[name])


async def test_the_check_notices_a_function_that_is_not_inlined(owner: Any) -> None:
    await owner.execute("ALTER FUNCTION status_name STRICT")
    assert "status_name(" in await planned(owner, CALLS["status_name"])
