"""Numbering of events while an export has a snapshot, and while other transactions are open."""

import asyncio
from collections.abc import AsyncIterator

import asyncpg
import orjson
import pytest

from service.database import database
from service.database.statements import statements
from service.domain.ids import OrgId, new_id
from service.events import store as events_store
from service.events.operations import NumberingStart, number_events
from service.exports.readers import open_snapshot
from tests.database.large import plan_nodes
from tests.stored import Store

ROUNDS, EVENTS = 20, 100
INSERT = "INSERT INTO events (org_id, event_id, type, data) VALUES (1, $1, 'run.completed', '{}')"


@pytest.fixture
async def api_pool(database_url: str) -> AsyncIterator[asyncpg.Pool]:
    pool = await database.open_pool(database_url, "results_api", 1)
    yield pool
    await database.close_pool(pool)


@pytest.fixture
def start() -> NumberingStart:
    """A start that is never reset."""
    return NumberingStart(lambda: 0.0)


async def insert(pool: asyncpg.Pool, count: int) -> None:
    await pool.executemany(INSERT, [(new_id("evt"),) for _ in range(count)])


async def wait_until_advanced(pool: asyncpg.Pool, start: NumberingStart) -> None:
    """Number events until the start is later than now: transactions of other tests delay it."""
    now = await pool.fetchval("SELECT now()")
    async with asyncio.timeout(60):
        while start.next() < now:
            await number_events(pool, start)


async def pages_read(pool: asyncpg.Pool, start: NumberingStart) -> int:
    """Number the committed events, and return the number of pages that the search for them read."""
    text = statements("events")["number"].replace("$1", f"'{start.next().isoformat()}'")
    text = text.replace("$2", str(events_store.MAX_NUMBERED))
    async with pool.acquire() as connection, connection.transaction():
        # As for a table with many rows.
        await connection.execute("SET LOCAL enable_seqscan = off; SET LOCAL enable_bitmapscan = off")
        [plan] = orjson.loads(await connection.fetchval(f"EXPLAIN (ANALYZE, BUFFERS, FORMAT JSON) {text}"))
    [scan] = [node for node in plan_nodes(plan["Plan"]) if node.get("Index Name") == "events_unnumbered"]
    return int(scan["Shared Hit Blocks"] + scan["Shared Read Blocks"])


async def test_numbering_reads_no_more_pages_with_an_open_snapshot(
    store: Store, api_pool: asyncpg.Pool, start: NumberingStart
) -> None:
    async with open_snapshot(api_pool, OrgId(1)) as snapshot:
        await snapshot.fetch("SELECT 1 FROM events")
        await insert(store.pool, EVENTS)
        first = await pages_read(store.pool, start)
        for _ in range(ROUNDS):
            await insert(store.pool, EVENTS)
            assert await number_events(store.pool, start) == EVENTS
        await wait_until_advanced(store.pool, start)
        await insert(store.pool, EVENTS)
        last = await pages_read(store.pool, start)
    print(f"pages: {first} at first, {last} after {ROUNDS * EVENTS} events")
    assert last < 5 * first  # 24 times as many without the start


async def test_event_that_commits_late_gets_a_number(store: Store, start: NumberingStart) -> None:
    async with store.pool.acquire() as other:
        late = other.transaction()
        await late.start()
        await other.execute(INSERT, new_id("evt"))
        for _ in range(3):
            await insert(store.pool, 1)
            assert await number_events(store.pool, start) == 1
        await late.commit()
    assert await number_events(store.pool, start) == 1


async def test_event_with_an_earlier_time_gets_a_number_after_the_next_reset(store: Store) -> None:
    now_s = 0.0
    start = NumberingStart(lambda: now_s)
    await insert(store.pool, 1)
    await wait_until_advanced(store.pool, start)
    await insert(store.pool, 1)
    await store.pool.execute("UPDATE events SET created_at = created_at - interval '1 h' WHERE number IS NULL")
    assert await number_events(store.pool, start) == 0
    now_s = 60.0
    assert await number_events(store.pool, start) == 1
