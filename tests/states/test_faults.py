"""States after faults equal the states of a rebuild from the stored runs."""

import asyncio
import random
from collections.abc import Awaitable, Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, Final

import asyncpg
import pytest

from consumers.topology import Topology
from service.database.database import as_organization, as_owner
from service.database.transactions import notifying_transaction
from service.domain.ids import OrgId
from service.events import store as events_store
from service.events.operations import number_events
from service.organizations import store as organizations_store
from service.retention.delete_organization import OrganizationDeletion
from service.retention.deletion import delete_requested_projects, delete_run
from service.retention.expiry import apply_retention
from service.retention.model import RetentionPolicy
from service.states import store as states_store
from service.states.update_states import HistoryUpdate, StateUpdater
from service.storage import Storage
from tests.consumers.processes import consumer
from tests.fixtures.broker import until
from tests.states.test_update_states import run, states, update
from tests.stored import Store

pytestmark = pytest.mark.slow

TABLES: Final = ("case_histories", "case_states", "state_positions")
OUTCOMES: Final = [*["pppp"] * 24, "Fppp", "pppp", "Fppp", "ppfp", "ppfp"]  # c0 is flaky, and c2 is broken
FLAKY_AND_BROKEN: Final = ["flaky", "broken"]


async def ingest(store: Store, outcomes: list[str] = OUTCOMES, first: int = 0, **fields: Any) -> None:
    await store.ingest(*[run(first + number, letters, **fields) for number, letters in enumerate(outcomes)])


async def values(store: Store) -> list[str]:
    """Return the states by the names of the cases."""
    rows = await store.pool.fetch("SELECT state FROM case_states JOIN cases USING (org_id, case_key) ORDER BY name")
    return [row["state"] for row in rows]


async def rebuilt_states(store: Store) -> list[tuple[Any, ...]]:
    """Return the states that follow from the stored runs alone."""
    for table in TABLES:
        await store.pool.execute(f"DELETE FROM {table}")
    await update(store)
    return await states(store.pool)


async def assert_rebuilt(store: Store, expected: list[str]) -> None:
    """Assert these states, and that a rebuild leads to the same states with the same runs."""
    assert await values(store) == expected
    found = await states(store.pool)
    assert await rebuilt_states(store) == found


async def is_update_blocked(store: Store) -> bool:
    return bool(
        await store.pool.fetchval(
            "SELECT EXISTS (SELECT 1 FROM pg_locks WHERE NOT granted AND relation = 'case_states'::regclass)"
        )
    )


@pytest.mark.slow
async def test_update_of_a_killed_process_is_repeated(store: Store, database_url: str, tmp_path: Path) -> None:
    """The first process is killed after it has written the histories and before it writes the states."""
    await ingest(store)
    await number_events(store.pool)
    owner = await asyncpg.connect(database_url)
    settings = {"artifacts_url": tmp_path.as_uri()}
    async with owner.transaction():
        await owner.execute("LOCK TABLE case_states IN EXCLUSIVE MODE")
        with consumer(database_url, "", Topology(""), "upkeep", **settings) as first:
            await until(lambda: is_update_blocked(store), "the update of states")
            first.kill()
            first.wait()
        await ingest(store, ["pppp", "pfpp", "pfpp"], first=30)  # c2 is repaired, and c1 breaks
    await owner.close()
    assert await values(store) == []
    await number_events(store.pool)
    with consumer(database_url, "", Topology(""), "upkeep", **settings):
        await until(lambda: values(store), "states")
    await assert_rebuilt(store, ["flaky", "broken"])


async def test_one_process_at_a_time_updates_the_states_of_an_organization(store: Store) -> None:
    await ingest(store)
    async with store.pool.acquire() as connection, connection.transaction():
        assert await states_store.try_lock(connection, OrgId(1))
        await update(store)
        assert await values(store) == []
    await update(store)
    assert await values(store) == FLAKY_AND_BROKEN


@pytest.mark.slow
async def test_two_processes_update_states_concurrently(store: Store) -> None:
    updaters, random_ = [StateUpdater(store.pool) for _ in range(2)], random.Random(3)
    for number in range(40):
        await store.ingest(run(number, "".join(random_.choices("pFf", (8, 1, 1), k=6))))
        await number_events(store.pool)
        await asyncio.gather(*(updater.update() for updater in updaters))
    await update(store)
    found = await states(store.pool)
    assert await rebuilt_states(store) == found != []


async def test_histories_are_compared_after_events_were_deleted(store: Store) -> None:
    await ingest(store, OUTCOMES[:26])
    await update(store)
    await ingest(store, OUTCOMES[26:], first=26)
    await number_events(store.pool)
    async with store.pool.acquire() as connection:
        assert await events_store.prune(connection, int(datetime.now(UTC).timestamp() * 1000) + 10_000, 1_000)
    await ingest(store, ["pppp"], first=31, branch="topic")
    await update(store)
    await assert_rebuilt(store, FLAKY_AND_BROKEN)


@pytest.mark.slow
@pytest.mark.usefixtures("no_partitions")
async def test_expired_runs_are_removed(store: Store, database_url: str, tmp_path: Path) -> None:
    """The flaky results of c0 expire, and those of c1 don't. c2 remains broken, but has few other results now."""
    for days, outcomes in ((100, ["Fppp", "pppp", *["pppp"] * 24, "Fppp"]), (5, ["pppp", "pFfp", "pppp", "pFfp"])):
        for number, letters in enumerate(outcomes):
            event = run(days * 100 + number, letters)
            completed_at = datetime.now(UTC) - timedelta(days=days) + timedelta(minutes=number)
            event["data"]["run"]["completed_at"] = completed_at.isoformat()
            await store.ingest(event)
    await update(store)
    assert await values(store) == ["flaky", "flaky", "flaky"]
    retention = timedelta(days=30)
    policy = RetentionPolicy(retention, retention, None, timedelta(0))
    assert await apply_retention(store.pool, Storage(tmp_path.as_uri()), database_url, policy)
    await update(store)
    await assert_rebuilt(store, ["flaky", "flaky"])


@pytest.fixture
def paused(monkeypatch: pytest.MonkeyPatch) -> tuple[asyncio.Event, asyncio.Event]:
    """Let updates set the first event before they store histories, and then wait for the second one."""
    reached, proceed, store_histories = asyncio.Event(), asyncio.Event(), states_store.store_histories

    async def pause(*arguments: Any) -> None:
        reached.set()
        await proceed.wait()
        await store_histories(*arguments)

    monkeypatch.setattr(states_store, "store_histories", pause)
    return reached, proceed


async def left_rows(store: Store) -> dict[str, int]:
    return {table: await store.pool.fetchval(f"SELECT count(*) FROM {table}") for table in TABLES}


async def delete_project(store: Store) -> None:
    await store.pool.execute("UPDATE projects SET deletion_requested_at = now()")
    await delete_requested_projects(store.pool)


async def delete_during_update(
    store: Store, paused: tuple[asyncio.Event, asyncio.Event], delete: Callable[[], Awaitable[None]]
) -> None:
    reached, proceed = paused
    await number_events(store.pool)
    updating = asyncio.create_task(StateUpdater(store.pool).update())
    await reached.wait()
    deleting = asyncio.ensure_future(delete())
    await asyncio.wait({deleting}, timeout=1)
    proceed.set()
    await asyncio.gather(updating, deleting, return_exceptions=True)
    await delete()


async def test_project_that_is_deleted_during_an_update_leaves_no_state(
    store: Store, paused: tuple[asyncio.Event, asyncio.Event]
) -> None:
    await ingest(store)
    await delete_during_update(store, paused, lambda: delete_project(store))
    await update(store)
    left = await left_rows(store)
    assert (left["case_histories"], left["case_states"]) == (0, 0)


async def test_organization_that_is_deleted_during_an_update_leaves_no_state(
    store: Store, database_url: str, tmp_path: Path, paused: tuple[asyncio.Event, asyncio.Event],
    monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    monkeypatch.setattr("service.retention.delete_organization._KEY_CACHE_S", 0.0)
    await ingest(store)

    async def delete() -> None:
        if await store.pool.fetchval("SELECT count(*) FROM organizations"):
            async with as_owner(database_url) as owner, store.pool.acquire() as worker:
                await OrganizationDeletion(worker, owner, Storage(tmp_path.as_uri())).run("acme")

    await delete_during_update(store, paused, delete)
    assert not any((await left_rows(store)).values())


async def test_untrusted_runs_change_no_state(store: Store) -> None:
    await ingest(store)
    await update(store)
    await ingest(store, ["fppp"] * 3 + ["pppp"], first=40)
    await store.pool.execute("UPDATE runs SET trusted = false WHERE run_id >= 'r40' AND run_id < 'r44'")
    await update(store)
    await assert_rebuilt(store, FLAKY_AND_BROKEN)


async def test_renamed_case_has_a_history_of_its_own(store: Store) -> None:
    """The broken case c2 gets the name c3 in the last 3 runs, and stays in the history of its last result."""
    await ingest(store, [letters[:3] for letters in OUTCOMES] + ["pp-f"] * 2)
    await update(store)
    assert await values(store) == FLAKY_AND_BROKEN
    await ingest(store, ["pp-f"], first=40)
    await update(store)
    await assert_rebuilt(store, ["flaky", "broken", "broken"])


@pytest.mark.parametrize(
    ("fields", "expected"),
    [
        ({"branch": "topic"}, ["flaky"]),
        ({"environment": "linux"}, ["flaky"]),
        ({"branch": "topic", "environment": "linux"}, ["flaky"]),
    ],
)
async def test_correction_moves_a_run(store: Store, fields: dict[str, str], expected: list[str]) -> None:
    await ingest(store)
    await update(store)
    await store.ingest(run(28, "ppfp", version=5, **fields))  # the last failure of c2
    await update(store)
    await assert_rebuilt(store, expected)


async def test_run_that_is_deleted_and_sent_again_replaces_the_deleted_one(store: Store) -> None:
    """The new run has an earlier time, and so another key. One update follows both events."""
    await ingest(store)
    await update(store)
    async with store.pool.acquire() as connection, notifying_transaction(connection):
        await delete_run(connection, OrgId(1), "r28", None)
    event = run(28, "pppp", version=5)
    event["data"]["run"]["completed_at"] = "2026-04-30T12:00:00Z"
    await store.ingest(event)
    await update(store)
    await assert_rebuilt(store, ["flaky"])


async def test_damaged_histories_are_read_again(store: Store) -> None:
    """The cases that are healthy in the rebuilt histories have no state from the damaged ones."""
    await ingest(store)
    await update(store)
    await store.pool.execute(r"UPDATE case_histories SET document = '\x00'")
    await ingest(store, ["pppp"] * 2, first=40)
    await update(store)
    await assert_rebuilt(store, ["flaky"])


async def test_failing_update_does_not_stop_other_organizations(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    await organizations_store.create(store.pool, "other", "Other")  # type: ignore[arg-type]
    await ingest(store)
    for number, letters in enumerate(OUTCOMES):
        event = run(number, letters)
        event["data"]["organization"] = "other"
        await store.ingest(event)
    update_histories, updated = HistoryUpdate.run, list[int]()

    async def fail_first(self: HistoryUpdate, changed: Any) -> Any:
        updated.append(self._org_id)
        if self._org_id == updated[0]:
            raise KeyError("a bug")
        return await update_histories(self, changed)

    monkeypatch.setattr(HistoryUpdate, "run", fail_first)
    with pytest.raises(KeyError, match="a bug"):
        await update(store)
    assert sorted(set(updated)) == [1, 2]
    assert await values(store) == FLAKY_AND_BROKEN


async def test_runs_with_a_wrong_clock_are_in_the_order_of_their_times(store: Store) -> None:
    """c1 fails before all other runs and in the future, where c2 passes."""
    await ingest(store)
    await update(store)
    for run_id, completed_at in (
        (50, datetime(2026, 1, 1, tzinfo=UTC)),
        (51, datetime.now(UTC) + timedelta(minutes=4)),
    ):
        event = run(run_id, "pfpp", version=run_id)
        event["data"]["run"]["completed_at"] = completed_at.isoformat()
        assert [outcome.status for outcome in await store.ingest(event)] == ["stored"]
        await update(store)
    newest = await store.pool.fetchval(
        "SELECT run_id FROM case_histories JOIN runs r USING (org_id) WHERE run_key = newest_run"
    )
    assert newest == "r51"
    await assert_rebuilt(store, ["flaky", "flaky"])


async def test_the_api_sees_only_the_states_of_its_organization(store: Store, api_pool: asyncpg.Pool) -> None:
    await organizations_store.create(store.pool, "other", "Other")  # type: ignore[arg-type]
    for number, letters in enumerate(OUTCOMES):
        event = run(number, letters)
        event["data"]["organization"] = "other"
        await store.ingest(run(number, letters), event)
    await update(store)
    async with as_organization(api_pool, OrgId(2)) as connection:
        for table in TABLES:
            assert await store.pool.fetchval(f"SELECT count(DISTINCT org_id) FROM {table}") == 2
            assert await connection.fetchval(f"SELECT array_agg(DISTINCT org_id) FROM {table}") == [2], table
