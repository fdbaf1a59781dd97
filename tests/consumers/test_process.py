"""Tests of consumer processes: killed, stopped, and started with invalid settings."""

import asyncio
import os
import subprocess
import sys
from collections.abc import MutableMapping
from contextlib import suppress
from typing import Any

import pytest
from structlog.testing import capture_logs

from consumers.process import _check_broker_settings, _write_heartbeats
from service.database import database
from service.processes import MissingSetting
from service.settings import Settings
from tests.consumers.processes import consumer
from tests.fixtures.broker import Broker, until
from tests.proxies import UnreliableProxy
from tests.run_events import result, run_event
from tests.stored import Store

EVENTS = 1_000


async def count(store: Store) -> int:
    return int(await store.pool.fetchval("SELECT count(*) FROM runs"))


@pytest.mark.slow
async def test_events_are_stored_exactly_once_after_a_kill(store: Store, broker: Broker, database_url: str) -> None:
    results = [result(f"case {number}") for number in range(20)]
    await broker.publish(*[run_event(f"run_{number}", results, id=str(number)) for number in range(EVENTS)])
    with consumer(database_url, broker.url, broker.topology, "runs") as first:
        await until(lambda: has_runs(store), "the first runs")
        first.kill()
        first.wait()
    assert 0 < await count(store) < EVENTS, "the process was killed too late"
    with consumer(database_url, broker.url, broker.topology, "runs"):
        await until(lambda: has_all(store), "all runs")
    assert await store.pool.fetchval("SELECT count(*) FROM results") == EVENTS * len(results)
    assert await store.pool.fetchval("SELECT count(*) FROM receipts WHERE status = 'stored'") == EVENTS
    assert await broker.pop_dead_letters() == []


async def has_runs(store: Store) -> bool:
    return await count(store) > 0


async def has_all(store: Store) -> bool:
    return await count(store) == EVENTS


async def test_sigterm_drains_the_consumer_and_loses_nothing(store: Store, broker: Broker, database_url: str) -> None:
    await broker.publish(*[run_event(f"run_{number}") for number in range(EVENTS)])
    with consumer(database_url, broker.url, broker.topology, "runs") as process:
        await until(lambda: has_runs(store), "the first runs")
        process.terminate()
        assert process.wait(timeout=20) == 0

    async def every_event_is_stored_or_queued() -> bool:
        return await count(store) + await broker.depth(broker.topology.runs_queue) == EVENTS

    await until(every_event_is_stored_or_queued, "the events that are not stored to be in the queue")


@pytest.mark.slow
async def test_sigterm_ends_a_process_that_waits_for_a_suspended_database(
    store: Store, broker: Broker, database_url: str
) -> None:
    roles = ("relay", "webhooks")

    async def have_started() -> bool:
        return bool(await store.pool.fetchval("SELECT count(*) = $1 FROM heartbeats", len(roles)))

    async with UnreliableProxy(database_url) as proxy:
        with consumer(proxy.url, broker.url, broker.topology, *roles) as process:
            await until(have_started, "the heartbeats")
            await asyncio.sleep(1)  # all loops listen
            proxy.stall_connections()
            proxy.stalls_new_connections = True
            process.terminate()
            assert await asyncio.to_thread(process.wait, 40) == 0


def started_with(**settings: str) -> "subprocess.CompletedProcess[str]":
    environment = {name: value for name, value in os.environ.items() if not name.startswith("RESULTS_")}
    return subprocess.run(
        [sys.executable, "-m", "consumers", "runs"],
        env=environment | settings,
        capture_output=True,
        text=True,
        check=False,
        timeout=30,
    )


def test_missing_setting_is_named_in_the_error() -> None:
    done = started_with()
    assert done.returncode == 1
    assert "RESULTS_DATABASE_URL" in done.stderr


def test_pool_that_could_deadlock_is_rejected(database_url: str) -> None:
    done = started_with(RESULTS_DATABASE_URL=database_url, RESULTS_DATABASE_POOL_SIZE="5")
    assert done.returncode == 1
    assert "RESULTS_DATABASE_POOL_SIZE: a consumer needs 6 or more" in done.stderr


def test_event_sizes_need_a_broker(database_url: str) -> None:
    done = started_with(RESULTS_DATABASE_URL=database_url, RESULTS_EVENT_SIZES="large")
    assert done.returncode == 1
    assert "RESULTS_EVENT_SIZES: large needs RESULTS_AMQP_URL" in done.stderr


def test_required_producers_need_a_broker() -> None:
    with pytest.raises(MissingSetting, match="RESULTS_PRODUCER_IDENTITY: required needs RESULTS_AMQP_URL"):
        _check_broker_settings(Settings(producer_identity="required"))
    _check_broker_settings(Settings(producer_identity="required", amqp_url="amqp://127.0.0.1/"))


async def test_a_locked_table_of_heartbeats_stops_no_process(
    store: Store, database_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(database._SESSION["results_worker"], "lock_timeout", "50ms")
    monkeypatch.setattr("consumers.process._HEARTBEAT_S", 0.01)
    impatient = await database.open_pool(database_url, "results_worker", 1)
    with capture_logs() as logs:
        async with store.pool.acquire() as other, other.transaction():
            await other.execute("LOCK TABLE heartbeats IN SHARE ROW EXCLUSIVE MODE")
            writing = asyncio.create_task(_write_heartbeats(impatient, "runs", []))
            await until(lambda: has_logged(logs), "the failed heartbeats")
        await until(lambda: has_heartbeat(store), "the heartbeat after the end of the lock")
    assert {(line["event"], line["role"]) for line in logs} == {("heartbeat_failed", "runs")}
    writing.cancel()
    with suppress(asyncio.CancelledError):
        await writing
    await database.close_pool(impatient)


async def has_logged(logs: list[MutableMapping[str, Any]]) -> bool:
    return len(logs) > 1


async def has_heartbeat(store: Store) -> bool:
    return bool(await store.pool.fetchval("SELECT count(*) FROM heartbeats WHERE role = 'runs'"))
