"""A pooled connection whose last statement failed before its execution has no open transaction afterwards."""

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import asyncpg
import pytest

from service.database.connections import ScopedConnection
from service.database.database import Pool, close_pool, open_pool
from service.database.transactions import reading_snapshot


@pytest.fixture
async def pool(database_url: str) -> AsyncIterator[Pool]:
    opened = await open_pool(database_url, "results_api", 1)
    yield opened
    await close_pool(opened)


async def assert_snapshot_can_start(pool: Pool) -> None:
    async with pool.acquire() as connection, reading_snapshot(connection):
        assert await connection.fetchval("SHOW transaction_isolation") == "repeatable read"


async def test_value_that_cannot_be_encoded_leaves_no_transaction_open(pool: Pool) -> None:
    with pytest.raises(asyncpg.DataError):
        await pool.fetchval("SELECT count(*) FROM runs WHERE passed = $1", "many")
    await assert_snapshot_can_start(pool)


async def test_task_that_is_canceled_before_the_execution_leaves_no_transaction_open(
    pool: Pool, monkeypatch: pytest.MonkeyPatch
) -> None:
    prepare = ScopedConnection._get_statement  # type: ignore[attr-defined]  # missing in the stubs

    async def prepare_and_cancel(*arguments: Any, **named: Any) -> None:
        await prepare(*arguments, **named)
        raise asyncio.CancelledError

    async with pool.acquire() as connection:
        monkeypatch.setattr(ScopedConnection, "_get_statement", prepare_and_cancel)
        with pytest.raises(asyncio.CancelledError):
            await connection.fetchval("SELECT count(*) FROM runs")
        monkeypatch.undo()
    await assert_snapshot_can_start(pool)
