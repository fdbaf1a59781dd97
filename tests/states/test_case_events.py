"""Each change of the shown state of a case has exactly one event, and nothing else has one."""

from collections import Counter
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from typing import Any, Final, cast

import orjson
import pytest

from service.database.transactions import notifying_transaction
from service.domain.ids import OrgId, case_public_id
from service.events import store as events_store
from service.events.operations import number_events
from service.retention.deletion import delete_requested_projects, delete_run
from service.states import store as states_store
from service.states.update_states import StateUpdater
from tests.run_events import result, run_event
from tests.served import Api
from tests.states.test_update_states import START, Simulation, run, update
from tests.stored import Store
from tests.webhooks.dispatching import add_webhook

EVENTS: Final = "SELECT type, project_id, run_id, data FROM events WHERE type LIKE 'case.%' ORDER BY event_id"
HEALTHY: Final = "p" * 24  # outcomes of one case, by run
BROKEN: Final = "ff"


async def store_runs(store: Store, outcomes: Sequence[str], first: int = 0, **fields: Any) -> None:
    """Ingest one run for each element: the outcomes of all cases."""
    await store.ingest(*[run(number, letters, **fields) for number, letters in enumerate(outcomes, first)])


async def start(store: Store, outcomes: Sequence[str] = HEALTHY, **fields: Any) -> None:
    """Store the first histories, which publish nothing."""
    await store_runs(store, outcomes, **fields)
    await update(store)
    assert await published(store) == []


async def published(store: Store) -> list[tuple[str, str, str]]:
    """Return the type, the previous state, and the state of each event."""
    return [(type_, data["previous_state"], data["state"]["value"]) for type_, _, _, data in await rows(store)]


async def rows(store: Store) -> list[tuple[str, str, str | None, Any]]:
    return [(*row[:3], orjson.loads(row["data"])) for row in await store.pool.fetch(EVENTS)]


async def test_each_change_has_one_event(store: Store) -> None:
    await start(store)
    for number, letter in enumerate("Fpp" * 4 + "f" * 14 + "p" * 30 + "ff", 24):
        await store.ingest(run(number, letter))
        await update(store)
        await update(store)
    assert await published(store) == [
        ("case.flaky", "healthy", "flaky"),
        ("case.broken", "flaky", "broken"),
        ("case.flaky", "broken", "flaky"),
        ("case.recovered", "flaky", "healthy"),
        ("case.broken", "healthy", "broken"),
    ]


async def test_events_lead_to_the_shown_states(store: Store) -> None:
    """Random runs, late ones, and corrections, in two environments."""
    simulation, updater = Simulation(3), StateUpdater(store.pool)
    late = list(range(5, 90, 7))
    for step, number in enumerate(number for number in range(100) if number not in late):
        await store.ingest(simulation.event(number))
        if step % 6 == 5 and late:
            await store.ingest(simulation.event(late.pop()))
        if step % 9 == 8:
            await store.ingest(simulation.event(max(0, number - 3), step))
        if step % 3 == 0:
            await update(store, updater)
            replayed: dict[str, str] = {}
            for type_, _, _, data in await rows(store):
                assert data["previous_state"] == replayed.get(data["id"], "healthy")
                replayed[data["id"]] = data["state"]["value"]
                assert type_.removeprefix("case.") == data["state"]["value"].replace("healthy", "recovered")
            shown = await store.pool.fetch("SELECT case_key, min(state) FROM case_states GROUP BY 1")
            expected = {case_public_id(key): state for key, state in shown}
            assert {case: state for case, state in replayed.items() if state != "healthy"} == expected, step
    found = Counter(row[0] for row in await rows(store))
    assert min(found[type_] for type_ in ("case.flaky", "case.broken", "case.recovered")) > 2, found


@pytest.mark.parametrize("new_branch", ["topic", "main"])
async def test_first_states_of_a_branch_have_no_events(api: Api, new_branch: str) -> None:
    await start(api.store, HEALTHY + BROKEN)
    assert await api.store.pool.fetchval("SELECT state FROM case_states") == "broken"
    await store_runs(api.store, HEALTHY, 30, branch="topic")
    await store_runs(api.store, "p", 60)
    await api.send("PATCH", "/v1/projects/shop", json={"default_branch": new_branch})
    async with api.store.pool.acquire() as connection:
        await states_store.request_comparison(connection, OrgId(1))
    for _ in range(2):
        await update(api.store)
    assert await api.store.pool.fetchval("SELECT count(*) FROM case_states") == 0
    assert await published(api.store) == ([("case.recovered", "broken", "healthy")] if new_branch == "main" else [])


async def test_object_is_the_case_with_its_state(store: Store) -> None:
    names: dict[str, Any] = {"case_id": "tc-1", "variant": {"os": "linux"}, "file": "tests/pay.py", "suite": "shop"}
    for number in range(26):
        results = [result("pays", "passed" if number < 24 else "failed", **names), result("ships")]
        event = run_event(
            f"r{number}", results, branch="main", commit_sha=f"a{number}",
            completed_at=f"{START:%Y-%m-%d}T12:{number:02}:00Z", environment="eu",
        )  # fmt: skip
        await store.ingest(event)
        await update(store)
    key = await store.pool.fetchval("SELECT case_key FROM cases WHERE name = 'pays'")
    state = {
        "value": "broken", "environment": "eu", "since_run_id": "r24", "last_passed_run_id": "r23",
        "first_commit": "a24", "last_good_commit": "a23", "runs": 26, "failed": 2, "flaky": 0,
        "failure_rate": round(2.05 / 26.55, 4),
    }  # fmt: skip
    case = {"id": case_public_id(key), "project_id": "shop", "name": "pays", "owners": [], **names}
    broken = {**case, "state": state, "previous_state": "healthy"}
    assert await rows(store) == [("case.broken", "shop", None, broken)]
    passed = [result("pays", **names)]
    fields = {"environment": "eu", "completed_at": "2026-06-01T12:00:00Z"}
    await store.ingest(run_event("r26", passed, branch="main", **fields))
    await update(store)
    healthy = {**dict.fromkeys(state), "value": "healthy"}
    recovered = {**case, "state": healthy, "previous_state": "broken"}
    assert (await rows(store))[1:] == [("case.recovered", "shop", None, recovered)]


@pytest.mark.parametrize(("newer", "expected"), [("p", []), ("", [("case.broken", "healthy", "broken")])])
async def test_older_arrival_that_a_newer_run_has_undone_has_no_event(
    store: Store, newer: str, expected: list[Any]
) -> None:
    await start(store)
    await store_runs(store, newer, 26)
    await update(store)
    await store_runs(store, BROKEN, 24)
    await update(store)
    assert await published(store) == expected


async def test_runs_of_one_update_count_together(store: Store) -> None:
    await start(store)
    await store_runs(store, BROKEN + "p", 24)
    await update(store)
    assert await published(store) == []


async def test_second_broken_environment_has_no_event(store: Store) -> None:
    await start(store)
    await start(store, first=100, environment="linux")
    await store_runs(store, BROKEN, 24)
    await update(store)
    await store_runs(store, BROKEN, 124, environment="linux")
    await update(store)
    assert await published(store) == [("case.broken", "healthy", "broken")]
    await store_runs(store, "p", 26)
    await update(store)
    assert len(await published(store)) == 1, "the case is still broken on Linux"
    await store_runs(store, "p", 126, environment="linux")
    await update(store)
    assert (await published(store))[1:] == [("case.recovered", "broken", "healthy")]


@pytest.mark.parametrize("place", [(states_store, "set_position"), (events_store, "insert")])
async def test_update_that_was_rolled_back_is_repeated_with_one_event(
    store: Store, monkeypatch: pytest.MonkeyPatch, place: tuple[Any, str]
) -> None:
    """The states are stored when the error occurs, and in one case also the events."""
    await start(store)
    await store_runs(store, BROKEN, 24)

    async def fail(*_: Any) -> None:
        raise ConnectionResetError

    with monkeypatch.context() as patched:
        patched.setattr(*place, fail)
        with pytest.raises(ConnectionResetError):
            await update(store)
    assert await published(store) == []
    for _ in range(2):
        await update(store, StateUpdater(store.pool))
    assert await published(store) == [("case.broken", "healthy", "broken")]


async def test_deleted_project_has_no_events(store: Store) -> None:
    await start(store)
    await store_runs(store, BROKEN, 24)
    await update(store)
    await store.pool.execute("UPDATE projects SET deletion_requested_at = now()")
    async with store.pool.acquire() as connection:
        for run_id in ("r24", "r25"):
            async with notifying_transaction(connection):
                await delete_run(connection, OrgId(1), run_id, None)
    await update(store)
    async with store.pool.acquire() as connection:
        await states_store.request_comparison(connection, OrgId(1))
    await update(store)
    await delete_requested_projects(store.pool)
    await update(store)
    assert await published(store) == [("case.broken", "healthy", "broken")]
    assert await store.pool.fetchval("SELECT count(*) FROM case_states") == 0


async def test_webhooks_keys_and_filters_receive_only_their_events(api: Api) -> None:
    """Another project, another organization, other types, and a run don't match."""
    other, other_key = await api.make_organization("other")
    webhooks: dict[str, dict[str, Any]] = {
        "all": {}, "type": {"events": ("case.broken",)}, "project": {"project_id": "shop"},
        "other type": {"events": ("case.flaky",)}, "other project": {"project_id": "blog"},
        "other organization": {"org_id": other},
    }  # fmt: skip
    hooks = {
        name: (await add_webhook(api.store, "https://hooks.example.com", **fields)).webhook_id
        for name, fields in webhooks.items()
    }
    await start(api.store)
    await store_runs(api.store, BROKEN, 24)
    await update(api.store)
    await number_events(api.store.pool)
    found = "SELECT webhook_id FROM deliveries JOIN events USING (org_id, event_id) WHERE type LIKE 'case.%'"
    received = {row["webhook_id"] for row in await api.store.pool.fetch(found)}
    assert received == {hooks[name] for name in ("all", "type", "project")}
    [event] = (await api.get("/v1/events", {"type": "case.broken"}))["data"]
    assert event["data"]["object"]["state"]["since_run_id"] == "r24"
    for project_id, expected in {"shop": [event], "blog": []}.items():
        key = (await api.make_key(project_id=project_id)).key
        assert (await api.get("/v1/events", {"type": "case.broken"}, key))["data"] == expected
    assert (await api.get("/v1/events", {"type": "case.broken"}, other_key))["data"] == []
    assert (await api.get("/v1/events", {"type": "case.broken", "run_id": "r24"}))["data"] == []


async def test_events_of_cases_change_no_state(store: Store) -> None:
    await start(store)
    await store_runs(store, BROKEN, 24)
    await number_events(store.pool)
    last = await store.pool.fetchval("SELECT max(number) FROM events")
    await update(store)
    await number_events(store.pool)
    async with store.pool.acquire() as connection:
        assert await states_store.find_organizations(connection) == [OrgId(1)]
        changes = await states_store.find_changes(connection, OrgId(1), last, 10)
    assert {change.run_id for change in changes} == {None}
    await update(store)
    async with store.pool.acquire() as connection:
        assert await states_store.find_organizations(connection) == [], "the updates would never end"


class OneConnection:
    """A pool with one connection, whose statements can be counted."""

    def __init__(self, connection: Any) -> None:
        self.connection = connection

    @asynccontextmanager
    async def acquire(self) -> AsyncIterator[Any]:
        yield self.connection


async def test_number_of_statements_does_not_depend_on_the_number_of_cases(store: Store) -> None:
    counts = []
    for project_id, cases in {"shop": 20, "blog": 300}.items():
        await start_project(store, project_id, cases)
        statements: list[Any] = []
        async with store.pool.acquire() as connection:
            with connection.query_logger(statements.append):
                await StateUpdater(cast("Any", OneConnection(connection))).update()
        counts.append(len(statements))
        changed = "SELECT count(*) FROM events WHERE type = 'case.broken' AND project_id = $1"
        assert await store.pool.fetchval(changed, project_id) == cases
    assert counts[0] == counts[1]


async def start_project(store: Store, project_id: str, cases: int) -> None:
    """Break half of the cases of a project, without an update of their states."""
    for number, letter in enumerate("pfff"):
        names = {"project_id": project_id, "run_id": f"{project_id}-{number}"}
        event = run(number, letter * cases + "p" * cases)
        event["data"]["run"] |= names
        await store.ingest(event)
        if number == 0:
            await update(store)
    await number_events(store.pool)
