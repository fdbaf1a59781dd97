"""Tests of loops that retry after temporary database errors, and only after those."""

import asyncio
from collections.abc import AsyncIterator

import asyncpg
import pytest
from structlog.testing import capture_logs

from consumers.loops import retry_on_outage

LOCK = "SELECT pg_advisory_xact_lock(1)"


@pytest.fixture
async def blocker(database_url: str) -> AsyncIterator[asyncpg.Connection]:
    connection = await asyncpg.connect(database_url)
    yield connection
    await connection.close()


@pytest.fixture
async def waiter(database_url: str) -> AsyncIterator[asyncpg.Connection]:
    connection = await asyncpg.connect(database_url, server_settings={"lock_timeout": "50ms"})
    yield connection
    await connection.close()


async def test_work_is_retried_while_another_transaction_has_the_lock(
    blocker: asyncpg.Connection, waiter: asyncpg.Connection
) -> None:
    attempts = 0

    async def work() -> None:
        nonlocal attempts
        attempts += 1
        await waiter.execute(LOCK)

    async with asyncio.timeout(10):
        async with blocker.transaction():
            await blocker.execute(LOCK)
            working = asyncio.create_task(retry_on_outage("work", work, asyncio.Event()))
            await asyncio.sleep(0.2)
            assert not working.done()
        await working
    assert attempts > 1


async def test_error_that_is_not_temporary_is_not_retried(waiter: asyncpg.Connection) -> None:
    async def work() -> None:
        await waiter.execute("SELECT 'x'::int")

    with pytest.raises(asyncpg.InvalidTextRepresentationError):
        await retry_on_outage("work", work, asyncio.Event())


async def test_missing_permission_is_logged_as_such(waiter: asyncpg.Connection) -> None:
    stopping = asyncio.Event()

    async def work() -> None:
        stopping.set()
        await waiter.execute("SET ROLE results_api; TRUNCATE runs")

    with capture_logs() as logs:
        await retry_on_outage("work", work, stopping)
    assert [line["event"] for line in logs] == ["database_permission_missing"]
