"""After faults, the events of failure groups lead to the stored states, which equal those of a rebuild."""

import asyncio
import random
from pathlib import Path
from typing import Any

import asyncpg
import pytest

from consumers.topology import Topology
from service.domain.ids import OrgId, fingerprint_id
from service.events import store as events_store
from service.events.operations import number_events
from service.failures import store as failures_store
from service.failures import update_groups
from service.retention.deletion import delete_requested_projects
from service.states import store as states_store
from service.states.update_states import StateUpdater
from tests.consumers.processes import consumer
from tests.failures.test_lifecycle import GroupHistory, events, follow, open_groups, published, replay, run
from tests.fixtures.broker import until
from tests.states.test_update_states import update
from tests.stored import Store

pytestmark = pytest.mark.slow


async def assert_rebuilt(store: Store) -> None:
    """Assert that events and a rebuild from the stored runs lead to the stored states."""
    found = await open_groups(store)
    states = replay(await events(store))
    assert {group for group, state in states.items() if state == "open"} == {
        fingerprint_id(fingerprint)  # type: ignore[arg-type]
        for fingerprint in found
    }
    for statement in ("DELETE FROM failure_group_states", "UPDATE projects SET failure_groups_branch = NULL"):
        await store.pool.execute(statement)
    async with store.pool.acquire() as connection:
        await states_store.request_comparison(connection, OrgId(1))
    await update(store)
    assert await open_groups(store) == found


async def is_blocked(store: Store, table: str) -> bool:
    query = "SELECT EXISTS (SELECT 1 FROM pg_locks WHERE NOT granted AND relation = $1::text::regclass)"
    return bool(await store.pool.fetchval(query, table))


@pytest.mark.parametrize("table", ["failure_group_states", "events", "state_positions"])
async def test_update_of_a_killed_process_is_repeated(
    store: Store, database_url: str, tmp_path: Path, table: str
) -> None:
    """The process is killed before it writes the states, the events, or the position."""
    await follow(store, "ppp", "app")
    await store.ingest(run(3, "pbp"), run(4, "pbc"))
    await number_events(store.pool)
    owner = await asyncpg.connect(database_url)
    settings = {"artifacts_url": tmp_path.as_uri()}
    async with owner.transaction():
        await owner.execute(f"LOCK TABLE {table} IN EXCLUSIVE MODE")
        with consumer(database_url, "", Topology(""), "upkeep", **settings) as first:
            await until(lambda: is_blocked(store, table), "the update of failure groups")
            first.kill()
            first.wait()
    await owner.close()
    assert await published(store) == [("opened", "a")]
    with consumer(database_url, "", Topology(""), "upkeep", **settings):

        async def are_published() -> bool:
            return len(await published(store)) > 3

        await until(are_published, "the events")
    assert sorted(await published(store)) == [("opened", "a"), ("opened", "b"), ("opened", "c"), ("resolved", "a")]
    await assert_rebuilt(store)


async def test_two_processes_publish_each_change_once(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(update_groups, "_MIN_AGE_MS", 0)
    updaters, history = [StateUpdater(store.pool) for _ in range(2)], GroupHistory(3)
    await update(store)
    for number in range(60):
        await store.ingest(history.event(number))
        await number_events(store.pool)
        await asyncio.gather(*(updater.update() for updater in updaters))
    await update(store)
    assert len(await events(store)) > 10
    await assert_rebuilt(store)


async def test_failing_update_changes_nothing(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    """Random failures of statements of the update, as of a lost connection."""
    history, chance, insert = GroupHistory(5), random.Random(1), events_store.insert

    async def fail(*arguments: Any) -> None:
        if chance.random() < 0.5:
            raise ConnectionError("lost")
        await insert(*arguments)
        if chance.random() < 0.5:
            raise ConnectionError("lost after the events")

    await update(store)
    monkeypatch.setattr(events_store, "insert", fail)
    failures = 0
    for number in range(50):
        monkeypatch.setattr(events_store, "insert", insert)
        await store.ingest(history.event(number))
        await number_events(store.pool)
        monkeypatch.setattr(events_store, "insert", fail)
        try:
            await StateUpdater(store.pool).update()
        except ConnectionError:
            failures += 1
    monkeypatch.setattr(events_store, "insert", insert)
    await update(store)
    assert failures > 5
    await assert_rebuilt(store)


async def test_project_that_is_deleted_during_an_update_leaves_no_group(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    reached, proceed, store_states = asyncio.Event(), asyncio.Event(), failures_store.store_states

    async def pause(*arguments: Any) -> None:
        reached.set()
        await proceed.wait()
        await store_states(*arguments)

    async def delete() -> None:
        await store.pool.execute("UPDATE projects SET deletion_requested_at = now()")
        await delete_requested_projects(store.pool)

    await follow(store, "pp")
    monkeypatch.setattr(failures_store, "store_states", pause)
    await store.ingest(run(2, "ap"))
    await number_events(store.pool)
    updating = asyncio.create_task(StateUpdater(store.pool).update())
    await reached.wait()
    deleting = asyncio.create_task(delete())
    await asyncio.wait({deleting}, timeout=1)
    proceed.set()
    await asyncio.gather(updating, deleting, return_exceptions=True)
    await delete()
    await update(store)
    assert await store.pool.fetchval("SELECT count(*) FROM failure_group_states") == 0


async def test_run_that_is_stored_again_is_counted_once(store: Store) -> None:
    await follow(store, "ppp", "app")
    event = run(2, "app")
    await store.ingest(event, event)
    await update(store)
    await store.ingest(run(1.5, "pbp"))  # late: r2 passed the case
    await update(store)
    assert await published(store) == [("opened", "a")]
    await assert_rebuilt(store)
