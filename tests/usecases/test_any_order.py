"""Property test: the events of a run lead to the same state in any order, with any repetition, and in any batches."""

import random
from typing import Any

import pytest

from tests.run_events import result, run_event
from tests.stored import Store

ORDERS = 6
STATUSES = ("passed", "failed", "error", "skipped", "canceled")


def random_events(rng: random.Random, run_id: str) -> list[dict[str, Any]]:
    """Return shards, corrections, and ties of one run, which depend only on the seed."""
    return [random_event(rng, run_id, number) for number in range(rng.randint(2, 5))]


def random_event(rng: random.Random, run_id: str, number: int) -> dict[str, Any]:
    expectations: dict[str, Any] = rng.choice(
        ({"expected_shards": 3, "shard": rng.randint(1, 3)}, {"expected_results": 4}, {"final": rng.random() < 0.5}, {})
    )
    fields: dict[str, Any] = {
        name: f"{name} {rng.randint(1, 2)}" for name in ("environment", "branch") if rng.random() < 0.5
    }
    if rng.random() < 0.3:
        fields["status"] = rng.choice(("passed", "failed", "error", "canceled"))
    results = [random_result(rng, name) for name in "abcd" if rng.random() < 0.6]
    time = f"2026-05-20T12:00:0{rng.randint(0, 2)}.{rng.randint(0, 999):03}Z"
    return run_event(run_id, results, id=f"{run_id}-{number}", time=time, **fields, **expectations)


def random_result(rng: random.Random, name: str) -> dict[str, Any]:
    status = rng.choice(STATUSES)
    failure = {"message": f"message {rng.randint(1, 3)}"} if status != "passed" else None
    attempts = [{"status": "failed"}, {"status": status, "failure": failure}] if rng.random() < 0.3 else None
    return result(name, status, duration_ms=rng.randint(0, 1), failure=failure, attempts=attempts)


def random_batches(rng: random.Random, events: list[dict[str, Any]]) -> list[list[dict[str, Any]]]:
    repeated = events + rng.sample(events, rng.randint(0, len(events)))
    rng.shuffle(repeated)
    batches: list[list[dict[str, Any]]] = [[]]
    for event in repeated:
        if batches[-1] and rng.random() < 0.5:
            batches.append([])
        batches[-1].append(event)
    return batches


async def stored_state(store: Store) -> dict[str, Any]:
    """Return the stored state by run, without the run ID."""
    snapshot = await store.snapshot()
    states: dict[str, Any] = {}
    for kind, rows in snapshot.items():
        for run_id, *rest in rows:
            states.setdefault(run_id, {}).setdefault(kind, []).append(tuple(rest))
    for state in states.values():
        state["shards"] = None
    return states


@pytest.mark.parametrize("seed", range(12))
async def test_any_order_leads_to_the_same_state(store: Store, seed: int) -> None:
    for order in range(ORDERS):
        events = random_events(random.Random(seed), f"run_{order}")
        for batch in random_batches(random.Random(f"{seed} {order}"), events):
            outcomes = await store.ingest(*batch)
            assert {outcome.status for outcome in outcomes} <= {"stored", "duplicate"}
    states = await stored_state(store)
    assert len(states) == ORDERS
    first = states["run_0"]
    for run_id, state in states.items():
        assert state == first, run_id
