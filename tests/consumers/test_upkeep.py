"""Tests of periodic tasks: failures, stops, and a process that was killed during a task."""

import asyncio
import time
from collections.abc import Sequence
from contextlib import AbstractContextManager, AsyncExitStack
from datetime import UTC, datetime, timedelta
from pathlib import Path
from subprocess import Popen

import asyncpg
import pytest

from consumers.loops import Loop, PeriodicTask, periodic_loops
from consumers.roles import ROLES, RoleContext
from consumers.topology import Topology
from service.settings import Settings
from tests.consumers.processes import consumer
from tests.fixtures.broker import until
from tests.run_events import run_event
from tests.running import running
from tests.stored import Store


async def run_tasks(tasks: list[PeriodicTask], stopping: asyncio.Event) -> None:
    await asyncio.gather(*(loop() for loop in periodic_loops(tasks, stopping)))


async def test_failing_task_is_retried_and_other_tasks_continue() -> None:
    attempts = 0
    retried, ran_other_task = asyncio.Event(), asyncio.Event()

    async def fail() -> None:
        nonlocal attempts
        attempts += 1
        if attempts == 2:
            retried.set()
        raise KeyError("a bug")

    async def succeed() -> None:
        if retried.is_set():
            ran_other_task.set()

    stopping = asyncio.Event()
    async with running(
        stopping, run_tasks([PeriodicTask("fails", 0.01, fail), PeriodicTask("succeeds", 0.01, succeed)], stopping)
    ):
        await asyncio.wait_for(ran_other_task.wait(), 10)


async def test_task_with_a_statement_timeout_is_not_retried_immediately() -> None:
    attempts = 0

    async def time_out() -> None:
        nonlocal attempts
        attempts += 1
        raise TimeoutError

    stopping = asyncio.Event()
    async with running(stopping, run_tasks([PeriodicTask("slow", 3600, time_out)], stopping)):
        await asyncio.sleep(1)
    assert attempts == 1


async def test_stop_cancels_a_long_task() -> None:
    started, finished = asyncio.Event(), asyncio.Event()

    async def run_long() -> None:
        started.set()
        try:
            await asyncio.sleep(3600)
        finally:
            finished.set()

    stopping = asyncio.Event()
    async with running(stopping, run_tasks([PeriodicTask("long", 0.01, run_long)], stopping)):
        await started.wait()
        stopped_at = time.monotonic()
    assert finished.is_set()
    assert time.monotonic() - stopped_at < 5


async def test_upkeep_publishes_the_expiry_of_quarantines(store: Store, database_url: str, tmp_path: Path) -> None:
    superuser = await asyncpg.connect(database_url)
    await superuser.execute(
        "INSERT INTO quarantines (org_id, quarantine_id, project_id, name, reason, expires_at, created_by)"
        " VALUES (1, 'qua_1', 'shop', '*', 'unstable', now(), 'key_1')"
    )
    await superuser.close()

    async def is_published() -> bool:
        return bool(await store.pool.fetchval("SELECT type = 'quarantine.expired' FROM events"))

    async def run(loops: Sequence[Loop]) -> None:
        await asyncio.gather(*(loop() for loop in loops))

    stopping, settings = asyncio.Event(), Settings(database_url=database_url, artifacts_url=tmp_path.as_uri())
    async with AsyncExitStack() as opened:
        upkeep = await ROLES["upkeep"](RoleContext(settings, store.pool, Topology(""), stopping, opened))
        async with running(stopping, run(upkeep.loops)):
            await until(is_published, "the event")


@pytest.mark.slow
@pytest.mark.usefixtures("no_partitions")
async def test_task_of_a_killed_process_is_finished_by_another_process(
    store: Store, database_url: str, tmp_path: Path
) -> None:
    def upkeep() -> AbstractContextManager[Popen[bytes]]:
        settings = {"retention_days": "30", "retention_grace_days": "0", "artifacts_url": tmp_path.as_uri()}
        return consumer(database_url, "", Topology(""), "upkeep", **settings)

    async def is_detach_pending() -> bool:
        return bool(await store.pool.fetchval("SELECT bool_or(inhdetachpending) FROM pg_inherits"))

    async def are_partitions_dropped() -> bool:
        return bool(
            await store.pool.fetchval("SELECT NOT EXISTS (SELECT FROM pg_class WHERE relname ~ '_[0-9]{4}_[0-9]{2}$')")
        )

    await store.ingest(run_event(time=(datetime.now(UTC) - timedelta(days=100)).isoformat()))
    reader = await asyncpg.connect(database_url)
    async with reader.transaction():
        await reader.fetch("SELECT count(*) FROM results")
        with upkeep() as first:
            await until(is_detach_pending, "the reader to block the detach")
            first.kill()
            first.wait()
    await reader.close()
    with upkeep():
        await until(are_partitions_dropped, "the partitions to be dropped")
    run = await store.run()
    assert run is not None
    assert (run["results_expired"], run["passed"]) == (True, 1)
