"""States follow from the stored runs: in any order of arrival, after corrections, deletions, and other branches."""

import random
from collections import Counter, defaultdict
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from typing import Any, Final

import asyncpg
import pytest

from service.database.transactions import notifying_transaction
from service.domain.ids import OrgId
from service.events.operations import number_events
from service.retention.deletion import delete_run
from service.states import model, update_states
from service.states import store as states_store
from service.states.model import ShownState
from service.states.read_states import find_shown
from service.states.update_states import StateUpdater
from tests.evidence.oracle import newest_length
from tests.run_events import result, run_event
from tests.served import Api
from tests.stored import Store

START: Final = datetime(2026, 5, 1, tzinfo=UTC)
ATTEMPTS: Final = [{"status": "failed"}, {"status": "passed"}]
RUNS: Final = (
    "SELECT run_key, run_id, commit_sha, passed + failed + error AS executed, failed + error AS failed FROM runs"
    " WHERE branch = $1 AND coalesce(environment, '') = $2 AND complete AND status <> 'c' AND NOT results_expired"
    " AND passed + failed + error > 0 ORDER BY run_key DESC"
)
RESULTS: Final = "SELECT case_key, status::text AS status, flaky FROM results WHERE run_key = $1"
STATES: Final = "SELECT case_key, environment, state FROM case_states ORDER BY 1, 2"


@pytest.fixture
def short_window(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let a window have 24 to 60 runs, and let one of 4 runs be an anchor."""
    monkeypatch.setattr(model, "MIN_RUNS", 24)
    monkeypatch.setattr(model, "_ANCHOR_BITS", 3)
    for module in (model, states_store, update_states):
        monkeypatch.setattr(module, "MAX_RUNS", 60)


def run(number: int, outcomes: str, *, version: int = 0, **fields: Any) -> Any:
    """Return a run in which case `c0` has the first outcome, and so on: p, F (flaky), f, e, s, or - (no result)."""
    statuses = {"p": "passed", "f": "failed", "e": "error", "s": "skipped"}
    results = [
        result(f"c{case}", **({"attempts": ATTEMPTS} if letter == "F" else {"status": statuses[letter]}))
        for case, letter in enumerate(outcomes)
        if letter != "-"
    ]
    completed_at = (START + timedelta(minutes=10 * number)).isoformat()
    event_time = (START + timedelta(days=30, seconds=version)).isoformat()
    return run_event(f"r{number}", results, time=event_time, completed_at=completed_at, **{"branch": "main"} | fields)


async def update(store_: Store, updater: StateUpdater | None = None) -> None:
    await number_events(store_.pool)
    await (updater or StateUpdater(store_.pool)).update()


async def states(pool: asyncpg.Pool) -> list[tuple[Any, ...]]:
    """Return the states of unhealthy cases in each environment, and the details of the shown ones."""
    async with pool.acquire() as connection:
        rows = [tuple(row) for row in await connection.fetch(STATES)]
        shown = await find_shown(connection, OrgId(1), {row[0] for row in rows})
    details = [
        (
            case, state.environment or "", state.value, state.since_run_id, state.last_passed_run_id, state.runs,
            state.failed, state.flaky, state.first_commit, state.last_good_commit,
        )
        for case, state in shown.items()
    ]  # fmt: skip
    return rows + sorted(details, key=str)


async def expected_states(pool: asyncpg.Pool, branch: str, environments: Sequence[str]) -> list[tuple[Any, ...]]:
    """Return the same by a second implementation, which reads all results."""
    found: dict[tuple[int, str], tuple[Any, ...]] = {}
    newest: dict[str, Any] = {}
    for environment in environments:
        runs = await pool.fetch(RUNS, branch, environment)
        anchors = [n + 1 for n in range(23, min(len(runs), 60)) if runs[n]["run_key"].int % 4 == 0]
        window = runs[: anchors[0] if anchors else 60]
        newest[environment] = runs[0]["run_key"] if runs else None
        histories: dict[int, list[tuple[str, Any]]] = defaultdict(list)
        for each in window:
            if not (each["executed"] >= 20 and each["failed"] > 0.8 * each["executed"]):
                for row in await pool.fetch(RESULTS, each["run_key"]):
                    if row["status"] in "pfe":
                        histories[row["case_key"]].append((_letter(row), each))
        found |= {
            (case, environment): state for case, results in histories.items() if (state := _expected_state(results))
        }
    ranked = sorted(found.items(), key=lambda item: (item[1][0] == "broken", newest[item[0][1]]))
    worst = {case: (case, environment, *state) for (case, environment), state in ranked}
    rows = [(case, environment, state[0]) for (case, environment), state in sorted(found.items())]
    return rows + sorted(worst.values(), key=str)


def _letter(row: asyncpg.Record) -> str:
    return "f" if row["status"] in "fe" else "F" if row["flaky"] else "p"


def _expected_state(results: list[tuple[str, Any]]) -> tuple[Any, ...] | None:
    text = "".join(letter for letter, _ in results)
    length = newest_length([letter != "p" for letter in text])
    episodes, in_series = 0, False
    by_commit: dict[Any, set[str]] = defaultdict(set)
    for letter, each in results[:length]:
        by_commit[each["commit_sha"]].add(letter)
    contradicted = set()
    for letter, each in results[:length]:
        if letter == "p":
            in_series = False
        elif each["failed"] >= 20 and each["failed"] >= 0.2 * each["executed"]:
            continue
        elif letter == "F":
            episodes, in_series = episodes + 1, False
        elif each["commit_sha"] and by_commit[each["commit_sha"]] & {"p", "F"}:
            contradicted.add(each["commit_sha"])
        elif not in_series:
            episodes, in_series = episodes + 1, True
    episodes += len(contradicted)
    failures = len(text) - len(text.lstrip("f"))
    since = failures - 1
    is_break = episodes <= 1 or text[:length].count("f") > 0.8 * length
    if is_break and failures >= (2 if len(text) - failures >= 20 else 3):
        value = "broken"
    elif episodes >= 2 and episodes >= 0.01 * length:
        value, since = "flaky", length - 1 if length < len(text) else -1
    else:
        return None
    first = results[since][1] if since >= 0 else defaultdict(lambda: None)
    passed = results[failures][1] if failures < len(text) else defaultdict(lambda: None)
    counts = (length, text[:length].count("f"), text[:length].count("F"))
    return value, first["run_id"], passed["run_id"], *counts, first["commit_sha"], passed["commit_sha"]


class Simulation:
    """Random runs of a few cases: healthy, flaky, breaking, and repaired ones, in two environments."""

    def __init__(self, seed: int) -> None:
        self.random = random.Random(seed)
        self.broken: dict[int, bool] = defaultdict(bool)
        self.events: dict[int, Any] = {}

    def outcome(self, case: int) -> str:
        rates = (0.0, 0.02, 0.1, 0.4)
        if self.random.random() < 0.06:
            self.broken[case] = not self.broken[case] and case % 3 == 0
        if self.random.random() < 0.1:
            return self.random.choice("-s")
        if self.broken[case]:
            return self.random.choice("ffe")
        return self.random.choice("fF") if self.random.random() < rates[case % 4] else "p"

    def event(self, number: int, version: int = 0) -> Any:
        kind = self.random.random()
        if kind < 0.04:
            outcomes = "f" * 24  # an outage
        elif kind < 0.1:
            outcomes = "".join("f" if self.random.random() < 0.7 else self.outcome(case) for case in range(32))
        else:
            outcomes = "".join(map(self.outcome, range(24)))
        fields = {"environment": "linux"} if self.random.random() < 0.2 else {}
        fields |= {"branch": "topic"} if self.random.random() < 0.05 else {}
        fields |= {"commit_sha": f"c{number // 2}"} if self.random.random() < 0.8 else {}
        return run(number, outcomes, version=version, **fields)


@pytest.mark.parametrize("seed", [0, *(pytest.param(seed, marks=pytest.mark.slow) for seed in range(1, 6))])
@pytest.mark.usefixtures("short_window")
async def test_states_follow_from_the_stored_runs(store: Store, seed: int) -> None:
    simulation, updater = Simulation(seed), StateUpdater(store.pool)
    numbers = list(range(110))
    simulation.random.shuffle(late := numbers[5:100:7])
    ordered = [number for number in numbers if number not in late]
    kinds: Counter[str] = Counter()
    for step, number in enumerate(ordered):
        await store.ingest(simulation.event(number))
        if step % 7 == 3 and late:
            await store.ingest(simulation.event(late.pop()))
        if step % 9 == 5:
            await store.ingest(simulation.event(simulation.random.choice(ordered[max(0, step - 40) : step + 1]), step))
        if step % 13 == 8:
            await _delete(store, f"r{simulation.random.choice(ordered[: step + 1])}")
        if simulation.random.random() < 0.6:
            await update(store, updater)
            expected = await expected_states(store.pool, "main", ("", "linux"))
            assert await states(store.pool) == expected, f"after step {step}"
            kinds.update(state[2] for state in expected if len(state) == 3)
    assert kinds["flaky"] > 20
    assert kinds["broken"] > 10


@pytest.mark.usefixtures("short_window")
async def test_another_default_branch_has_other_states(api: Api) -> None:
    simulation = Simulation(9)
    await api.store.ingest(*[simulation.event(number) for number in range(60)])
    await update(api.store)
    assert await states(api.store.pool) == await expected_states(api.store.pool, "main", ("", "linux")) != []
    response = await api.send("PATCH", "/v1/projects/shop", json={"default_branch": "topic"})
    assert response.status == 200
    await update(api.store)
    assert await states(api.store.pool) == await expected_states(api.store.pool, "topic", ("", "linux"))


async def test_shown_state_is_the_worst_and_names_its_runs_and_commits(store: Store) -> None:
    """Case `c0` is broken on Linux and flaky elsewhere, and `c1` is healthy."""
    outcomes = ["pp"] * 24 + ["Fp", "pp", "Fp", "pp"]
    await store.ingest(*[run(number, letters) for number, letters in enumerate(outcomes)])
    linux = [
        run(40 + number, letters, environment="linux", commit_sha=f"a{number}")
        for number, letters in enumerate(["pp"] * 24 + ["fp"] * 3)
    ]
    await store.ingest(*linux)
    await update(store)
    async with store.pool.acquire() as connection:
        keys = [row["case_key"] for row in await connection.fetch("SELECT case_key FROM cases ORDER BY name")]
        shown = await find_shown(connection, OrgId(1), keys)
        since_ms = await connection.fetchval(
            "SELECT extract(epoch FROM completed_at) * 1000 FROM runs WHERE run_id = 'r64'"
        )
    assert shown == {
        keys[0]: ShownState(
            "broken", "linux", "r64", "r63", "a24", "a23", runs=3, failed=3, flaky=0, failure_rate=3.05 / 3.55,
            since_ms=since_ms,
        )
    }  # fmt: skip


async def test_state_with_damaged_histories_has_no_details(store: Store) -> None:
    await store.ingest(*[run(number, "f", environment="linux") for number in range(3)])
    await update(store)
    await store.pool.execute("UPDATE case_histories SET document = 'damaged'")
    async with store.pool.acquire() as connection:
        keys = [row["case_key"] for row in await connection.fetch("SELECT case_key FROM cases")]
        assert await find_shown(connection, OrgId(1), keys) == {keys[0]: ShownState("broken", "linux")}


async def test_deleted_run_that_is_stored_again_on_another_branch_leaves_the_states(store: Store) -> None:
    await store.ingest(*[run(number, "f") for number in range(3)])
    await update(store)
    assert [state[2] for state in await states(store.pool)] == ["broken", "broken"]
    await _delete(store, "r1")
    event = run(5, "f", branch="topic")
    event["data"]["run"]["run_id"] = "r1"
    await store.ingest(event)
    await update(store)
    assert await states(store.pool) == []


async def _delete(store: Store, run_id: str) -> None:
    if await store.run(run_id):
        async with store.pool.acquire() as connection, notifying_transaction(connection):
            await delete_run(connection, OrgId(1), run_id, None)
