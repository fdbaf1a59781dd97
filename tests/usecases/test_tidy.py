"""The chores: each takes away what it is for, and nothing else."""

import asyncio
from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta

import asyncpg
import pytest

from service.store import database
from service.usecases import tidy
from tests.run_events import run_event
from tests.stored import Store


async def test_old_receipts_go_and_new_ones_stay(store: Store) -> None:
    await store.take(run_event("run_1", id="old"), run_event("run_2", id="new"))
    hundred_days_ago = int((datetime.now(UTC) - timedelta(days=100)).timestamp() * 1000)
    await store.pool.execute(
        "UPDATE receipts SET receipt_id = $1 WHERE event_id = 'old'", f"rcp_{hundred_days_ago:012x}{'0' * 20}"
    )
    await tidy.delete_old_receipts(store.pool)
    assert [receipt["event_id"] for receipt in await store.receipts()] == ["new"]


async def test_a_consumer_that_stands_still_inside_a_copy_is_ended(
    store: Store, database_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    pool = await database.open_pool(database_url, "results_worker", 1)
    async with pool.acquire() as stuck:
        standing = asyncio.create_task(_stand_still(stuck))
        await asyncio.sleep(0.3)
        await tidy.end_stuck_writers(store.pool)
        assert not standing.done()
        monkeypatch.setattr(tidy, "_STUCK_AFTER", timedelta(0))
        await tidy.end_stuck_writers(store.pool)
        with pytest.raises((asyncpg.PostgresError, asyncpg.InterfaceError, OSError)):
            await asyncio.wait_for(standing, 10)
    await database.close_pool(pool)
    assert await store.pool.fetchval("SELECT 1") == 1


async def _stand_still(connection: database.Connection) -> None:
    async def rows() -> AsyncIterator[bytes]:
        await asyncio.sleep(3600)
        yield b""

    await connection.copy_to_table("heartbeats", source=rows(), columns=["worker_id", "role"])


async def test_answers_of_yesterday_go_and_those_of_today_stay(store: Store, database_url: str) -> None:
    owner = await asyncpg.connect(database_url)
    await owner.executemany(
        "INSERT INTO idempotency_keys (org_id, method, path, key, fingerprint, status, body, created_at)"
        " VALUES (1, 'POST', '/v1/results/export', $1, '', 202, '', now() - $2::interval)",
        [("old", timedelta(hours=25)), ("new", timedelta(hours=23))],
    )
    await tidy.delete_old_answers(store.pool)
    assert [row["key"] for row in await owner.fetch("SELECT key FROM idempotency_keys")] == ["new"]
    await owner.close()
