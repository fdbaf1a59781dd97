"""What is done again and again outlives what may pass, and nothing else."""

import asyncio
from collections.abc import AsyncIterator

import asyncpg
import pytest

from consumers.loops import retry_on_outage

LOCK = "SELECT pg_advisory_xact_lock(1)"


@pytest.fixture
async def holder(database_url: str) -> AsyncIterator[asyncpg.Connection]:
    connection = await asyncpg.connect(database_url)
    yield connection
    await connection.close()


@pytest.fixture
async def waiter(database_url: str) -> AsyncIterator[asyncpg.Connection]:
    connection = await asyncpg.connect(database_url, server_settings={"lock_timeout": "50ms"})
    yield connection
    await connection.close()


async def test_a_lock_that_somebody_holds_for_long_is_asked_for_again(
    holder: asyncpg.Connection, waiter: asyncpg.Connection
) -> None:
    tries = 0

    async def work() -> None:
        nonlocal tries
        tries += 1
        await waiter.execute(LOCK)

    async with asyncio.timeout(10):
        async with holder.transaction():
            await holder.execute(LOCK)
            working = asyncio.create_task(retry_on_outage("work", work, asyncio.Event()))
            await asyncio.sleep(0.2)
            assert not working.done()
        await working
    assert tries > 1


async def test_a_fault_of_our_own_is_not_tried_again(waiter: asyncpg.Connection) -> None:
    async def work() -> None:
        await waiter.execute("SELECT nothing")

    with pytest.raises(asyncpg.UndefinedColumnError):
        await retry_on_outage("work", work, asyncio.Event())
