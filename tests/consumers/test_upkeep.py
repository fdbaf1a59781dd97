"""Chores beside others in one process: none ends it, none delays its stop, and what is cut off is done by the next."""

import asyncio
import time
from contextlib import AbstractContextManager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from subprocess import Popen

import asyncpg

from consumers.topology import Topology
from consumers.upkeep import PeriodicTask, periodic_loops
from tests.consumers.conftest import until
from tests.consumers.processes import consumer
from tests.run_events import run_event
from tests.running import running
from tests.stored import Store


async def keep_up(chores: list[PeriodicTask], stopping: asyncio.Event) -> None:
    await asyncio.gather(*(loop() for loop in periodic_loops(chores, stopping)))


async def test_a_chore_that_fails_is_tried_again_and_the_others_go_on() -> None:
    tries = 0
    tried, other = asyncio.Event(), asyncio.Event()

    async def fail() -> None:
        nonlocal tries
        tries += 1
        if tries == 2:
            tried.set()
        raise KeyError("a bug")

    async def succeed() -> None:
        if tried.is_set():
            other.set()

    stopping = asyncio.Event()
    async with running(
        stopping, keep_up([PeriodicTask("fails", 0.01, fail), PeriodicTask("succeeds", 0.01, succeed)], stopping)
    ):
        await asyncio.wait_for(other.wait(), 10)


async def test_a_statement_that_takes_too_long_is_put_off_and_not_tried_at_once() -> None:
    tries = 0

    async def take_too_long() -> None:
        nonlocal tries
        tries += 1
        raise TimeoutError

    stopping = asyncio.Event()
    async with running(stopping, keep_up([PeriodicTask("slow", 3600, take_too_long)], stopping)):
        await asyncio.sleep(1)
    assert tries == 1


async def test_a_long_chore_is_cut_off_by_a_stop() -> None:
    begun, ended = asyncio.Event(), asyncio.Event()

    async def take_long() -> None:
        begun.set()
        try:
            await asyncio.sleep(3600)
        finally:
            ended.set()

    stopping = asyncio.Event()
    async with running(stopping, keep_up([PeriodicTask("long", 0.01, take_long)], stopping)):
        await begun.wait()
        stopped = time.monotonic()
    assert ended.is_set()
    assert time.monotonic() - stopped < 5


async def test_what_a_killed_upkeep_has_begun_is_finished_by_another(
    store: Store, database_url: str, tmp_path: Path
) -> None:
    def upkeep() -> AbstractContextManager[Popen[bytes]]:
        files = tmp_path.as_uri()
        return consumer(database_url, "", Topology(""), "upkeep", retention_days="30", artifacts_url=files)

    async def is_half_detached() -> bool:
        return bool(await store.pool.fetchval("SELECT bool_or(inhdetachpending) FROM pg_inherits"))

    async def is_gone() -> bool:
        return bool(
            await store.pool.fetchval("SELECT NOT EXISTS (SELECT FROM pg_class WHERE relname ~ '_[0-9]{4}_[0-9]{2}$')")
        )

    await store.take(run_event(time=(datetime.now(UTC) - timedelta(days=100)).isoformat()))
    reader = await asyncpg.connect(database_url)
    async with reader.transaction():
        await reader.fetch("SELECT count(*) FROM results")
        with upkeep() as first:
            await until(is_half_detached, "a reader to be in the way")
            first.kill()
            first.wait()
    await reader.close()
    with upkeep():
        await until(is_gone, "the partitions to go")
    run = await store.run()
    assert run is not None
    assert (run["results_expired"], run["passed"]) == (True, 1)
