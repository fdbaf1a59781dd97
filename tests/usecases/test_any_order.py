"""A law: the events of a run in any order, repeated, in any batches, end in the same state."""

import random
from typing import Any

import pytest

from tests.run_events import result, run_event
from tests.stored import Store

ORDERS = 6
STATUSES = ("passed", "failed", "error", "skipped", "canceled")


def some_events(chance: random.Random, run_id: str) -> list[dict[str, Any]]:
    """Shards, corrections and ties of one run; the same for the same chance, but for the run's id."""
    return [one_event(chance, run_id, number) for number in range(chance.randint(2, 5))]


def one_event(chance: random.Random, run_id: str, number: int) -> dict[str, Any]:
    announced: dict[str, Any] = {"expected_shards": 3, "shard": chance.randint(1, 3)} if chance.random() < 0.5 else {}
    said: dict[str, Any] = {
        name: f"{name} {chance.randint(1, 2)}" for name in ("environment", "branch") if chance.random() < 0.5
    }
    if chance.random() < 0.3:
        said["status"] = chance.choice(("passed", "failed", "error", "canceled"))
    results = [some_result(chance, name) for name in "abcd" if chance.random() < 0.6]
    time = f"2026-05-20T12:00:0{chance.randint(0, 2)}.{chance.randint(0, 999):03}Z"
    return run_event(run_id, results, id=f"{run_id}-{number}", time=time, **said, **announced)


def some_result(chance: random.Random, name: str) -> dict[str, Any]:
    status = chance.choice(STATUSES)
    failure = {"message": f"said {chance.randint(1, 3)}"} if status != "passed" else None
    attempts = [{"status": "failed"}, {"status": status, "failure": failure}] if chance.random() < 0.3 else None
    return result(name, status, duration_ms=chance.randint(0, 1), failure=failure, attempts=attempts)


def in_some_batches(chance: random.Random, events: list[dict[str, Any]]) -> list[list[dict[str, Any]]]:
    repeated = events + chance.sample(events, chance.randint(0, len(events)))
    chance.shuffle(repeated)
    batches: list[list[dict[str, Any]]] = [[]]
    for event in repeated:
        if batches[-1] and chance.random() < 0.5:
            batches.append([])
        batches[-1].append(event)
    return batches


async def stored_state(store: Store) -> dict[str, Any]:
    """The state by run, without what names the run."""
    snapshot = await store.snapshot()
    states: dict[str, Any] = {}
    for kind, rows in snapshot.items():
        for run_id, *rest in rows:
            states.setdefault(run_id, {}).setdefault(kind, []).append(tuple(rest))
    for state in states.values():
        state["shards"] = None
    return states


@pytest.mark.parametrize("seed", range(12))
async def test_any_order_ends_in_the_same_state(store: Store, seed: int) -> None:
    for order in range(ORDERS):
        events = some_events(random.Random(seed), f"run_{order}")
        for batch in in_some_batches(random.Random(f"{seed} {order}"), events):
            verdicts = await store.take(*batch)
            assert {verdict.status for verdict in verdicts} <= {"stored", "duplicate"}
    states = await stored_state(store)
    assert len(states) == ORDERS
    first = states["run_0"]
    for run_id, state in states.items():
        assert state == first, run_id
