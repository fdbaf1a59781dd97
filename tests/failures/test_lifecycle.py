"""The states and events of failure groups follow from the stored runs of the default branch."""

import random
from collections import Counter, defaultdict
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from typing import Any, Final

import orjson
import pytest

from service.database.transactions import notifying_transaction
from service.domain.ids import OrgId, fingerprint_id
from service.events import store as events_store
from service.events.operations import number_events
from service.failures import update_groups
from service.retention.deletion import delete_requested_projects, delete_run
from service.states.update_states import StateUpdater
from tests.run_events import result, run_event
from tests.served import Api
from tests.states.test_update_states import update
from tests.stored import Store

START: Final = datetime(2026, 5, 1, tzinfo=UTC)
MESSAGES: Final = {"a": "cart is empty", "b": "payment was declined", "c": "no address", "d": "page not found"}
RUNS: Final = (
    "SELECT run_key, run_id FROM runs WHERE branch = $1 AND coalesce(environment, '') = $2 AND complete"
    " AND status <> 'c' AND passed + failed + error > 0 ORDER BY run_key DESC"
)
RESULTS: Final = (
    "SELECT r.case_key, r.status::text AS status, d.fingerprint FROM results r"
    " LEFT JOIN result_details d USING (org_id, run_key, case_key) WHERE run_key = $1 AND r.status IN ('p', 'f', 'e')"
    " AND (d.attempt IS NULL OR d.is_last_attempt)"
)


def run(number: float, outcomes: str, *, version: int = 0, step: timedelta | None = None, **fields: Any) -> Any:
    """Return a run: case `c0` has the first outcome, and so on: p, s, -, or the failure of this letter in MESSAGES."""
    statuses = {"p": "passed", "s": "skipped"}
    results = [
        result(f"c{case}", statuses[letter])
        if letter in statuses
        else result(f"c{case}", "failed", failure={"type": "AssertionError", "message": MESSAGES[letter]})
        for case, letter in enumerate(outcomes)
        if letter != "-"
    ]
    completed_at = (START + (step or timedelta(minutes=10)) * number).isoformat()
    event_time = (START + timedelta(days=30, seconds=version)).isoformat()
    return run_event(f"r{number}", results, time=event_time, completed_at=completed_at, **{"branch": "main"} | fields)


async def events(store: Store) -> list[Any]:
    rows = await store.pool.fetch(
        "SELECT type, data, branch, owners, run_id FROM events WHERE type LIKE 'failure_group.%'"
        " ORDER BY number NULLS LAST, event_id"
    )
    return [{**dict(row), "data": orjson.loads(row["data"])} for row in rows]


async def published(store: Store) -> list[tuple[str, str]]:
    """Return the type of each event with the letter of the failure."""
    letters = {message: letter for letter, message in MESSAGES.items()}
    return [(event["type"][14:], letters.get(event["data"]["message"], "?")) for event in await events(store)]


async def open_groups(store: Store) -> dict[int, list[str]]:
    """Return the environments of the open groups."""
    rows = await store.pool.fetch(
        "SELECT fingerprint, environments FROM failure_group_states WHERE resolved_at IS NULL"
    )
    return {row["fingerprint"]: row["environments"] for row in rows}


async def expected_groups(store: Store, branch: str, environments: Sequence[str]) -> dict[int, list[str]]:
    """Return the same by a second implementation, which reads all results of the newest runs."""
    found: dict[int, set[str]] = defaultdict(set)
    for environment in environments:
        runs = await store.pool.fetch(RUNS, branch, environment)
        newest: dict[int, int | None] = {}
        for each in runs[: update_groups._MIN_RUNS]:
            for row in await store.pool.fetch(RESULTS, each["run_key"]):
                newest.setdefault(row["case_key"], row["fingerprint"] if row["status"] in "fe" else None)
        for fingerprint in newest.values():
            if fingerprint is not None:
                found[fingerprint].add(environment)
    return {fingerprint: sorted(names) for fingerprint, names in found.items()}


def replay(found: Sequence[Any]) -> dict[str, str]:
    """Return the state of each group after its events, and assert that each event changed it."""
    states: dict[str, str] = {}
    for event in found:
        group = event["data"]
        allowed = {
            "failure_group.opened": (None,),
            "failure_group.recurred": ("resolved",),
            "failure_group.resolved": ("open", None),  # None: recorded without an event
        }
        assert states.get(group["id"]) in allowed[event["type"]], event
        assert (event["type"] == "failure_group.resolved") == (group["state"] == "resolved")
        states[group["id"]] = group["state"]
    return states


@pytest.fixture
def short_window(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let cases that 6 runs don't contain be absent."""
    monkeypatch.setattr(update_groups, "_MIN_RUNS", 6)
    monkeypatch.setattr(update_groups, "_MIN_AGE_MS", 0)


class GroupHistory:
    """Random runs of 4 cases, of which some break, change their failure, or disappear."""

    def __init__(self, seed: int) -> None:
        self.random = random.Random(seed)
        self.outcomes = ["p"] * 4

    def event(self, number: int, version: int = 0) -> Any:
        for case in range(4):
            if self.random.random() < 0.25:
                self.outcomes[case] = self.random.choice("pppp-sabcd")
        fields: dict[str, Any] = {"environment": "linux"} if self.random.random() < 0.3 else {}
        fields |= {"branch": "topic"} if self.random.random() < 0.08 else {}
        return run(number, "p" + "".join(self.outcomes), version=version, **fields)


@pytest.mark.parametrize("seed", [0, *(pytest.param(seed, marks=pytest.mark.slow) for seed in range(1, 6))])
@pytest.mark.usefixtures("short_window")
async def test_groups_and_events_follow_from_the_stored_runs(store: Store, seed: int) -> None:
    """Late runs, corrections that also move runs, and deletions lead to the same groups as a second implementation."""
    history, updater = GroupHistory(seed), StateUpdater(store.pool)
    late = list(range(5, 70, 7))
    ordered = [number for number in range(80) if number not in late]
    await update(store, updater)
    for step, number in enumerate(ordered):
        await store.ingest(history.event(number))
        if step % 6 == 3 and late:
            await store.ingest(history.event(late.pop(history.random.randrange(len(late)))))
        if step % 7 == 5:
            await store.ingest(history.event(history.random.choice(ordered[max(0, step - 9) : step + 1]), step))
        if step % 9 == 8:
            await delete(store, f"r{history.random.choice(ordered[max(0, step - 9) : step + 1])}")
        if history.random.random() < 0.7:
            await update(store, updater)
            found = await open_groups(store)
            assert found == await expected_groups(store, "main", ("", "linux")), f"after step {step}"
            states = replay(await events(store))
            assert {fp for fp, state in states.items() if state == "open"} == set(map(fingerprint_id, found)), step  # type: ignore[arg-type]
    counts = Counter(type_ for type_, _ in await published(store))
    assert min(counts["opened"], counts["recurred"], counts["resolved"]) > 1, counts


async def delete(store: Store, run_id: str) -> None:
    if await store.run(run_id):
        async with store.pool.acquire() as connection, notifying_transaction(connection):
            await delete_run(connection, OrgId(1), run_id, None)


async def follow(store: Store, *outcomes: str, first: int = 1, **fields: Any) -> list[tuple[str, str]]:
    """Store runs with an update after each one, and return the events."""
    for number, letters in enumerate(outcomes, first):
        await store.ingest(run(number, letters, **fields))
        await update(store)
    return await published(store)


async def test_group_opens_is_resolved_and_recurs(store: Store) -> None:
    found = await follow(store, "ppp", "app", "aap", "pap", "sap", "ppp", "ppa", "ppb")
    assert found == [("opened", "a"), ("resolved", "a"), ("recurred", "a"), ("resolved", "a"), ("opened", "b")]
    rows = await store.pool.fetch("SELECT * FROM failure_group_states ORDER BY opened_at")
    assert [
        (row["opened_run_id"], row["last_run_id"], row["resolved_run_id"], row["environments"]) for row in rows
    ] == [("r7", "r7", "r8", []), ("r8", "r8", None, [""])]
    assert rows[0]["opened_at"] == START + timedelta(minutes=70)
    assert rows[0]["resolved_at"] == START + timedelta(minutes=80)


async def test_group_is_open_while_it_fails_in_an_environment(store: Store) -> None:
    await follow(store, "p", "a")
    await follow(store, "p", "a", first=11, environment="linux")
    assert await follow(store, "p", first=20) == [("opened", "a")]
    assert await follow(store, "p", first=30, environment="linux") == [("opened", "a"), ("resolved", "a")]


async def test_groups_that_fail_already_are_recorded_without_events(store: Store) -> None:
    """As after an upgrade: the states of cases are followed, and no failure group is recorded."""
    await follow(store, "ppp", "app")
    await store.pool.execute("DELETE FROM failure_group_states; DELETE FROM events WHERE type LIKE 'failure_group.%';")
    await store.pool.execute("UPDATE projects SET failure_groups_branch = NULL")
    assert await follow(store, "abp", first=3) == [("opened", "b")]
    assert len(await open_groups(store)) == 2
    assert sorted(await follow(store, "ppp", first=4)) == [("opened", "b"), ("resolved", "a"), ("resolved", "b")]


async def test_migration_records_the_groups_of_each_project(store: Store) -> None:
    await store.ingest(run(1, "ap"), run(2, "ap"))
    await update(store)
    assert len(await open_groups(store)) == 1
    assert await published(store) == []
    assert await follow(store, "pp", "bp", first=3) == [("resolved", "a"), ("opened", "b")]


@pytest.mark.parametrize("absent", [19, 20])
async def test_case_that_20_runs_of_7_days_do_not_contain_is_gone(store: Store, absent: int) -> None:
    await follow(store, "pp", "ap", step=timedelta(hours=10))
    await store.ingest(*[run(number, "-p", step=timedelta(hours=10)) for number in range(3, 3 + absent)])
    await update(store)
    expected = [("opened", "a"), ("resolved", "a")] if absent == 20 else [("opened", "a")]
    assert await published(store) == expected


async def test_case_that_20_runs_of_one_day_do_not_contain_is_not_gone(store: Store) -> None:
    await follow(store, "pp", "ap")
    await store.ingest(*[run(number, "-p") for number in range(3, 40)])
    await update(store)
    assert await published(store) == [("opened", "a")]
    await store.ingest(*[run(number, "-p") for number in range(40, 104)])
    await update(store)
    assert await published(store) == [("opened", "a"), ("resolved", "a")]


async def test_object_is_what_a_ticket_needs(store: Store) -> None:
    updater = StateUpdater(store.pool, "https://results.example")
    for number, letters in ((1, "pppp"), (2, "pppp"), (3, "paap")):
        await store.ingest(
            run(number, letters, commit_sha=f"c{number}", ci_url=f"https://ci.example/{number}",
                repository_url="https://github.com/acme/shop")
        )  # fmt: skip
        await store.pool.execute("UPDATE cases SET owners = '{@acme/web,ada}' WHERE name = 'c1'")
        await store.pool.execute("UPDATE cases SET owners = '{ada}' WHERE name = 'c2'")
        await store.pool.execute(
            "INSERT INTO case_owners SELECT org_id, case_key, unnest(owners), project_id FROM cases"
            " ON CONFLICT DO NOTHING"
        )
        await update(store, updater)
    (event,) = await events(store)
    group, (fingerprint,) = event["data"], await open_groups(store)
    keys = {row["name"]: row["key"] for row in await store.pool.fetch(
        "SELECT name, case_public_id(case_key) AS key FROM cases")}  # fmt: skip
    id_ = fingerprint_id(fingerprint)  # type: ignore[arg-type]
    results = {row["case"]: row["id"] for row in await store.pool.fetch(
        "SELECT case_public_id(case_key) AS case, result_id(run_key, case_key) AS id FROM results"
        " WHERE run_key = (SELECT run_key FROM runs WHERE run_id = 'r3')")}  # fmt: skip
    cases = sorted(
        (
            {"id": results[keys[name]], "case": keys[name], "suite": "", "name": name, "file": None, "owners": owners}
            for name, owners in (("c1", ["@acme/web", "ada"]), ("c2", ["ada"]))
        ),
        key=lambda case: int(str(case["case"])[5:], 16) - (1 << 64) * (str(case["case"])[5] in "89abcdef"),
    )
    for case in group["cases"]:
        case["suite"] = ""
    assert (event["branch"], event["owners"], event["run_id"]) == ("main", ["ada", "@acme/web"], "r3")
    assert group == {
        "id": id_, "project_id": "shop", "state": "open", "type": "AssertionError", "message": MESSAGES["a"],
        "branch": "main", "opened_at": "2026-05-01T00:30:00.000Z", "opened_run_id": "r3", "last_run_id": "r3",
        "resolved_at": None, "resolved_run_id": None, "commit_sha": "c3", "last_good_commit": "c2",
        "repository_url": "https://github.com/acme/shop", "case_count": 2, "cases": cases,
        "owners": ["ada", "@acme/web"], "ticket_url": None,
        "links": {
            "failure_group": f"https://results.example/v1/failures/{id_}",
            "result": f"https://results.example/v1/results/{cases[0]['id']}",
            "console": f"https://results.example/console/failures/{id_}",
            "console_result": f"https://results.example/console/results/{cases[0]['id']}",
            "ci": "https://ci.example/3",
        },
    }  # fmt: skip


async def test_group_with_many_cases_has_a_small_event(store: Store) -> None:
    names = [f"{number} {'ä' * 300}" for number in range(60)]
    failure = {"type": "E", "message": "the cart is empty after the payment was declined by the bank"}
    await store.ingest(run(0, "p"))
    await update(store)
    await store.ingest(
        run_event("r1", [result(name, "failed", failure=failure, suite=name) for name in names], branch="main")
    )
    await update(store)
    (event,) = await events(store)
    assert len(orjson.dumps(event["data"])) < 19_000
    assert (len(event["data"]["cases"]), event["data"]["case_count"]) == (10, 60)


@pytest.mark.slow
async def test_run_with_10000_failure_groups(store: Store) -> None:
    await store.ingest(run(0, "p"))
    await update(store)
    words = [f"{chr(97 + n % 26)}{chr(97 + n // 26 % 26)}{chr(97 + n // 676)}" for n in range(10_000)]
    results = [
        result(f"t{number}", "failed", failure={"type": f"Type{word}", "message": f"{word} {word} failed with {word}"})
        for number, word in enumerate(words)
    ]
    for part in range(2):
        await store.ingest(
            run_event("r1", results[part::2], branch="main", completed_at="2026-06-01T00:00:00Z", complete=part == 1)
        )
    await update(store)
    assert len(await open_groups(store)) == 10_000
    assert len(await events(store)) == 10_000
    await store.ingest(run(5_000, "p"))
    await update(store)
    assert len(await open_groups(store)) == 10_000


async def test_api_shows_the_state_on_the_default_branch(api: Api) -> None:
    await follow(api.store, "ppp", "app")
    await api.store.ingest(run(3, "ppb", branch="topic"))
    await update(api.store)
    listed = (await api.get("/v1/failures", {"project_id": "shop"}))["data"]
    by_message = {group["message"]: group["id"] for group in listed}
    names = ("state", "opened_at", "resolved_at")

    async def lifecycle(letter: str) -> list[Any]:
        found = await api.get(f"/v1/failures/{by_message[MESSAGES[letter]]}")
        return [found[name] for name in names]

    assert await lifecycle("a") == ["open", "2026-05-01T00:20:00.000Z", None]
    assert await lifecycle("b") == [None, None, None]
    await follow(api.store, "ppp", first=4)
    assert await lifecycle("a") == ["resolved", "2026-05-01T00:20:00.000Z", "2026-05-01T00:40:00.000Z"]


async def test_change_of_the_default_branch(api: Api) -> None:
    """Groups of the new branch are recorded without events, and those that don't fail on it are resolved."""
    await follow(api.store, "ppp", "abp")
    await api.store.ingest(run(10, "pcb", branch="topic"))
    await update(api.store)
    assert (await api.send("PATCH", "/v1/projects/shop", json={"default_branch": "topic"})).status == 200
    await update(api.store)
    found = await published(api.store)
    assert sorted(found) == [("opened", "a"), ("opened", "b"), ("resolved", "a")]
    assert await open_groups(api.store) == await expected_groups(api.store, "topic", [""])
    assert await follow(api.store, "ppp", first=11, branch="topic") != found


async def test_events_that_were_deleted_are_made_up_by_a_comparison(store: Store) -> None:
    await follow(store, "ppp", "app")
    await store.ingest(run(3, "ppb"))
    await number_events(store.pool)
    async with store.pool.acquire() as connection:
        assert await events_store.prune(connection, int(datetime.now(UTC).timestamp() * 1000) + 10_000, 1_000)
    await store.ingest(run(4, "p", branch="topic"))
    await update(store)
    assert sorted(await published(store)) == [("opened", "b"), ("resolved", "a")]


async def test_deletion_of_the_failure_resolves_the_group(store: Store) -> None:
    await follow(store, "pp", "ap")
    await delete(store, "r2")
    await update(store)
    assert [event["type"] for event in await events(store)] == ["failure_group.opened", "failure_group.resolved"]
    assert (await events(store))[1]["data"]["cases"] == []
    await delete(store, "r1")
    await update(store)
    assert await open_groups(store) == {}


async def test_untrusted_runs_change_no_group(store: Store) -> None:
    await follow(store, "pp")
    await store.ingest(run(2, "ap"))
    await store.pool.execute("UPDATE runs SET trusted = false WHERE run_id = 'r2'")
    await update(store)
    assert await open_groups(store) == {}


async def test_deleted_project_leaves_no_group(store: Store) -> None:
    await follow(store, "pp", "ap")
    await store.pool.execute("UPDATE projects SET deletion_requested_at = now()")
    await store.ingest(run(3, "pp", project_id="other"))
    await update(store)
    await delete_requested_projects(store.pool)
    await update(store)
    assert await store.pool.fetchval("SELECT count(*) FROM failure_group_states") == 0
    assert await published(store) == [("opened", "a")]
