"""Property test: the events of a run lead to the same state in any order, with any repetition, and in any batches."""

from collections.abc import Iterator
from typing import Any
from uuid import uuid4

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from service.domain.statuses import SEVERITY
from tests.run_events import COMPLETED_AT, result, run_event
from tests.stored import Store

SHARDS = 3
FAILING = ("failed", "error")

Event = dict[str, Any]


@st.composite
def results(draw: st.DrawFn, name: str) -> dict[str, Any]:
    """Return a result. Equal statuses, durations, attempts, and messages imply equal results."""
    status = draw(st.sampled_from(list(SEVERITY)))
    fields: dict[str, Any] = {"duration_ms": draw(st.sampled_from([None, 0, 1]))}
    failure = {"message": f"message {draw(st.integers(1, 3))}"} if status != "passed" else None
    if failure and status in FAILING:
        fields["artifacts"] = [{"name": "a.png", "uri": f"s3://{failure['message']}"}]
    if draw(st.booleans()):
        fields["attempts"] = [{"status": "failed"}, {"status": status, "failure": failure}]
    return result(name, status, failure=failure, **fields)


@st.composite
def events(draw: st.DrawFn) -> Event:
    """Return the fields of an event: of a shard or of none, at one of three times."""
    fields: dict[str, Any] = {
        name: f"{name} {draw(st.integers(1, 2))}" for name in ("environment", "branch") if draw(st.booleans())
    }
    if shard := draw(st.integers(0, SHARDS)):
        fields |= {"expected_shards": SHARDS, "shard": shard}
    else:
        fields |= draw(st.sampled_from(({}, {"expected_results": 3}, {"final": False}, {"final": True})))
    if draw(st.integers(0, 3)) == 0:
        fields["status"] = draw(st.sampled_from(("passed", "failed", "error", "canceled")))
    names = draw(st.lists(st.sampled_from("abc"), unique=True))
    time = f"2026-05-20T12:00:0{draw(st.integers(0, 2))}.{draw(st.integers(0, 999)):03}Z"
    return {"results": [draw(results(name)) for name in names], "time": time, **fields}


@st.composite
def batches(draw: st.DrawFn, count: int) -> list[list[int]]:
    """Return the indexes of all events in any order, some of them repeated, in one or several batches."""
    repeated = draw(st.lists(st.integers(0, count - 1), max_size=3))
    order = draw(st.permutations([*range(count), *repeated]))
    ends = sorted(draw(st.sets(st.integers(1, len(order) - 1)))) if len(order) > 1 else []
    return [order[start:end] for start, end in zip([0, *ends], [*ends, len(order)], strict=True)]


async def ingest(store: Store, stated: list[Event], arrangement: list[list[int]]) -> dict[str, Any]:
    """Ingest the events as a new run, and return its state without the run ID."""
    run_id = uuid4().hex
    sent = [
        run_event(run_id, id=f"{run_id}-{number}", completed_at=COMPLETED_AT, **event)
        for number, event in enumerate(stated)
    ]
    for batch in arrangement:
        outcomes = await store.ingest(*(sent[index] for index in batch))
        assert {outcome.status for outcome in outcomes} <= {"stored", "duplicate"}
    snapshot = await store.snapshot()
    return {kind: [row[1:] for row in rows if row[0] == run_id] for kind, rows in snapshot.items()}


def newest_failures(stated: list[Event]) -> Iterator[str]:
    """Yield the names of the cases that failed in the newest event of a shard."""
    seconds: dict[tuple[int, str], str] = {}
    for event in stated:
        for each in event["results"]:
            key = event.get("shard", 0), each["name"]
            seconds[key] = max(seconds.get(key, ""), event["time"][:19])
    for event in stated:
        for each in event["results"]:
            is_newest = seconds[event.get("shard", 0), each["name"]] == event["time"][:19]
            if is_newest and each["status"] in FAILING:
                yield each["name"]


@pytest.mark.slow
@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(stated=st.lists(events(), min_size=1, max_size=5), data=st.data())
async def test_any_order_leads_to_the_same_state(store: Store, stated: list[Event], data: st.DataObject) -> None:
    one_by_one = await ingest(store, stated, [[index] for index in range(len(stated))])
    assert await ingest(store, stated, data.draw(batches(len(stated)))) == one_by_one
    failing = [status for _, status, *_ in one_by_one["results"] if status in "fe"]
    assert len(failing) >= len(set(newest_failures(stated)))
