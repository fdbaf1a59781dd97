"""Property test: the events of a run lead to the state of a naive model in any order, repetition, and batches."""

from typing import Any
from uuid import uuid4

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from service.domain.ids import OrgId
from service.domain.statuses import SEVERITY
from service.results import queries as results_queries
from tests.ingest.run_model import FAILING, Event, Execution, ModelResult, ModelRun, model
from tests.run_events import COMPLETED_AT, result, run_event
from tests.stored import Store

SHARDS = 3
ATTEMPTS = (None, None, 1, 7, 2**53)


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
    return result(name, status, failure=failure, variant={}, **fields)


@st.composite
def events(draw: st.DrawFn) -> Event:
    """Return the fields of an event of any part and attempt, at one of three times."""
    fields: dict[str, Any] = {
        name: f"{name} {draw(st.integers(1, 2))}" for name in ("environment", "branch") if draw(st.booleans())
    }
    if draw(st.booleans()):
        fields |= {"part": draw(st.sampled_from(("build", "test")))}
    if draw(st.integers(0, 3)) == 0:
        fields |= {"variant": {"os": draw(st.sampled_from(("linux", "windows")))}}
    if (attempt := draw(st.sampled_from(ATTEMPTS))) is not None:
        fields |= {"attempt": attempt}
    if shard := draw(st.integers(0, SHARDS)):
        fields |= {"expected_shards": SHARDS, "shard": shard}
    else:
        fields |= draw(st.sampled_from(({}, {"expected_results": 3}, {"final": False}, {"final": True}, {"shard": 1})))
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


def sent_event(run_id: str, number: int, event: Event) -> dict[str, Any]:
    fields = {name: value for name, value in event.items() if name != "variant"}
    sent = run_event(run_id, id=f"{run_id}-{number}", completed_at=COMPLETED_AT, **fields)
    sent["data"]["variant"] = event.get("variant")
    return sent


async def ingest(store: Store, stated: list[Event], arrangement: list[list[int]]) -> tuple[dict[str, Any], ModelRun]:
    """Ingest the events as a new run, and return its state without the run ID and numbers, and as a model."""
    run_id = uuid4().hex
    sent = [sent_event(run_id, number, event) for number, event in enumerate(stated)]
    for batch in arrangement:
        outcomes = await store.ingest(*(sent[index] for index in batch))
        assert {outcome.status for outcome in outcomes} <= {"stored", "duplicate"}
    return await comparable_state(store, run_id), await stored_model(store, run_id)


async def comparable_state(store: Store, run_id: str) -> dict[str, Any]:
    """Return the state, with parts instead of their numbers, which depend on the order."""
    names = await part_names(store, run_id)
    snapshot = await store.snapshot()
    state = {kind: [list(row[1:]) for row in rows if row[0] == run_id] for kind, rows in snapshot.items()}
    for kind, column in (("results", 6), ("details", 10), ("shard_results", 1)):
        for row in state[kind]:
            row[column] = names[row[column]]
        state[kind].sort(key=repr)
    return state


async def part_names(store: Store, run_id: str) -> dict[int, tuple[Any, ...]]:
    rows = await store.pool.fetch(
        "SELECT number, name, variant ->> 'os' AS os, p.shard, attempt"
        " FROM run_parts p JOIN runs USING (org_id, run_key) WHERE run_id = $1",
        run_id,
    )
    return {row["number"]: (row["name"], row["os"] or "", row["shard"], row["attempt"]) for row in rows}


async def stored_model(store: Store, run_id: str) -> ModelRun:
    """Return the stored run in the form of the model."""
    run = await store.run(run_id)
    assert run is not None
    parts: dict[tuple[str, str, int], set[int]] = {}
    names = await part_names(store, run_id)
    for name, os, shard, attempt in names.values():
        parts.setdefault((name, os, shard), set()).add(attempt)
    rows = await store.pool.fetch(RESULTS, run_id)
    counts = {status: sum(row["status"] == status for row in rows) for status in SEVERITY}
    assert counts == {status: run[status] for status in SEVERITY}
    assert run["flaky"] == sum(row["flaky"] for row in rows)
    async with store.pool.acquire() as connection:
        results = {row["name"]: await stored_result(connection, row) for row in rows}
    return ModelRun(run["status_name"], run["complete"], run["failures_missing"], results, parts)


async def stored_result(connection: Any, row: Any) -> ModelResult:
    """Return a result as the API reads it."""
    detail = await results_queries.find_one(connection, OrgId(1), (row["run_key"], row["case_key"]), None)
    assert detail is not None
    executions = tuple(
        Execution(each.status, each.failure and each.failure.message, each.job_attempt) for each in detail.attempts
    )
    assert detail.result.attempts == len(executions)
    assert [each.attempt for each in detail.attempts] == [*range(1, len(executions) + 1)]
    return ModelResult(row["status"], row["flaky"], row["duration_ms"], executions, tuple(row["files"] or ()))


RESULTS = """
SELECT c.name, r.run_key, r.case_key, status_name(r.status) AS status, r.flaky, r.duration_ms,
       (SELECT array_agg(a.name ORDER BY a.name) FROM artifacts a
        WHERE (a.org_id, a.run_key, a.case_key) = (r.org_id, r.run_key, r.case_key)) AS files
FROM results r JOIN runs USING (org_id, run_key) JOIN cases c USING (org_id, case_key) WHERE run_id = $1
"""


@pytest.mark.slow
@settings(max_examples=80, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(stated=st.lists(events(), min_size=1, max_size=6), data=st.data())
async def test_any_order_leads_to_the_state_of_the_model(
    store: Store, stated: list[Event], data: st.DataObject
) -> None:
    one_by_one = await ingest(store, stated, [[index] for index in range(len(stated))])
    assert one_by_one[1] == model(stated)
    assert await ingest(store, stated, data.draw(batches(len(stated)))) == one_by_one
