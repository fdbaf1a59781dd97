"""A process whose clock is a year wrong accepts the same times as other processes: the clock of the database decides.

The tests change the clock of the database, because the clock of a process can't be changed separately. The difference
between both clocks is the same.
"""

from datetime import UTC, datetime, timedelta
from pathlib import Path

import asyncpg
import pytest

from consumers.runs import runs_handler
from tests.fixtures.broker import Broker, consuming, until
from tests.report_api import PASSING, serving_reports
from tests.run_events import run_event
from tests.stored import RETENTION, open_store

YEAR = timedelta(days=365)
DIFFERENCES = [pytest.param(YEAR, id="slow-process"), pytest.param(-YEAR, id="fast-process")]


async def change_clock(database_url: str, difference: timedelta) -> None:
    """Change the clock that new connections to the database read, by a function that precedes the system's one."""
    superuser = await asyncpg.connect(database_url)
    await superuser.execute(
        "CREATE SCHEMA clock; GRANT USAGE ON SCHEMA clock TO PUBLIC;"
        "CREATE FUNCTION clock.clock_timestamp() RETURNS timestamptz LANGUAGE sql AS"
        f" $$ SELECT pg_catalog.clock_timestamp() + interval '{difference.days} days' $$"
    )
    name = await superuser.fetchval("SELECT current_database()")
    await superuser.execute(f'ALTER DATABASE "{name}" SET search_path = clock, pg_catalog, public')
    await superuser.close()


@pytest.mark.parametrize("difference", DIFFERENCES)
async def test_consumer_accepts_times_by_the_clock_of_the_database(
    database_url: str, broker: Broker, difference: timedelta
) -> None:
    await change_clock(database_url, difference)
    now = datetime.now(UTC) + difference
    times = {
        "future": now + timedelta(days=2),
        "now": now,
        "tomorrow": now + timedelta(hours=23),
        "oldest": now - RETENTION + timedelta(days=1),
        "expired": now - RETENTION - timedelta(days=1),
    }
    async with open_store(database_url) as store, consuming(broker, store, runs_handler(store.run_ingest)):
        await broker.publish(*(run_event(run_id, time=at.isoformat()) for run_id, at in times.items()))

        async def all_handled() -> bool:
            return bool(await store.pool.fetchval("SELECT count(*) = 5 FROM receipts"))

        await until(all_handled, "the receipts")
        receipts = await store.pool.fetch("SELECT run_id, status FROM receipts")
        dead_queue = broker.topology.dead_queue(broker.topology.runs_queue)

        async def both_are_dead_letters() -> bool:
            return await broker.depth(dead_queue) == 2

        await until(both_are_dead_letters, "the dead letters")
        reasons = [message.headers["x-reason"] for message in await broker.pop_dead_letters()]
    expected = dict.fromkeys(times, "stored") | dict.fromkeys(("future", "expired"), "rejected")
    assert {row["run_id"]: row["status"] for row in receipts} == expected
    assert reasons == ["completed_at_out_of_range"] * 2


@pytest.mark.parametrize("difference", DIFFERENCES)
async def test_upload_accepts_times_by_the_clock_of_the_database(
    database_url: str, tmp_path: Path, difference: timedelta
) -> None:
    await change_clock(database_url, difference)
    now = datetime.now(UTC) + difference
    async with serving_reports(database_url, tmp_path) as reports:
        accepted = await reports.post(PASSING, "now", {"completed_at": now.isoformat()})
        rejected = await reports.post(PASSING, "future", {"completed_at": (now + timedelta(days=2)).isoformat()})
        assert (accepted.status, rejected.status) == (202, 400)
        assert (await rejected.json())["error"]["param"] == "completed_at"
