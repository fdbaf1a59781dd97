"""Shards of a run that report the same case: the worst result is used, and a correction affects only its own shard."""

from itertools import permutations
from typing import Any

import pytest

from tests.run_events import result, run_event
from tests.stored import Store

PASSED = result("pays")
FAILED = result(
    "pays", "failed", started_at="2026-05-20T11:59:00Z", logs_ref="s3://log",
    failure={"type": "E", "message": "no money", "details": "line 1"},
    attempts=[{"status": "error", "duration_ms": 3, "started_at": "2026-05-20T11:58:00Z"}, {"status": "failed"}],
    artifacts=[{"name": "b.png", "uri": "s3://b"}, {"name": "a.png", "uri": "s3://a", "sha256": "ab" * 32, "size": 4}],
)  # fmt: skip


def shard(number: int, *results: Any, second: int = 0, total: int = 2, **run: Any) -> Any:
    time = f"2026-05-20T12:00:{second:02}Z"
    return run_event(
        results=list(results),
        time=time,
        completed_at="2026-05-20T12:00:00Z",
        shard=number,
        expected_shards=total,
        **run,
    )


async def counts(store: Store) -> list[tuple[int, int, int]]:
    """Return the counts of the receipts in the order of the events."""
    rows = await store.pool.fetch("SELECT replaced, replaced_failing, combined FROM receipts ORDER BY receipt_id")
    return [tuple(row) for row in rows]


async def statuses(store: Store) -> list[tuple[str, str]]:
    return [(name, status) for name, status, *_ in await store.results()]


async def rows_of_shards(store: Store) -> int:
    rows: int = await store.pool.fetchval("SELECT count(*) FROM shard_results")
    return rows


@pytest.mark.parametrize("as_one_batch", [True, False])
@pytest.mark.parametrize("order", [(0, 1), (1, 0)])
async def test_passed_result_does_not_remove_the_failure_of_another_shard(
    store: Store, order: tuple[int, int], as_one_batch: bool
) -> None:
    events = [shard(1, FAILED), shard(2, PASSED, second=9)]
    arranged = [events[index] for index in order]
    await (store.ingest(*arranged) if as_one_batch else store.ingest_each(*arranged))
    run = await store.run()
    assert run is not None
    assert (run["status_name"], run["failed"], run["passed"], run["complete"], run["shards"]) == (
        "failed", 1, 0, True, [1, 2],
    )  # fmt: skip
    assert await statuses(store) == [("pays", "failed")]
    assert sorted(await counts(store)) == [(0, 0, 0), (0, 0, 1)]
    assert await rows_of_shards(store) == 2


@pytest.mark.parametrize("as_one_batch", [True, False])
async def test_correction_returns_to_the_result_of_another_shard(store: Store, as_one_batch: bool) -> None:
    alone = await _state_after(store, shard(2, FAILED))
    error = shard(1, result("pays", "error", artifacts=[{"name": "c.png", "uri": "s3://c"}]), second=1)
    correction = shard(1, PASSED, second=2)
    await store.pool.execute("DELETE FROM receipts; DELETE FROM runs; DELETE FROM results; DELETE FROM result_details")
    await store.pool.execute("DELETE FROM artifacts")
    events = shard(2, FAILED), error, correction
    await (store.ingest(*events) if as_one_batch else store.ingest_each(*events))
    assert await _state(store) == alone
    assert sorted(await counts(store)) == [(0, 0, 0), (0, 0, 1), (1, 1, 1)]
    later = await store.ingest(shard(2, PASSED, second=3))
    assert (later[0].status, await statuses(store)) == ("stored", [("pays", "passed")])
    run = await store.run()
    assert run is not None
    assert (run["status_name"], run["passed"], run["failed"], run["error"]) == ("passed", 1, 0, 0)
    assert (await _state(store))["artifacts"] == []


async def _state_after(store: Store, *events: Any) -> Any:
    await store.ingest(*events)
    return await _state(store)


async def _state(store: Store) -> Any:
    snapshot = await store.snapshot()
    return {kind: snapshot[kind] for kind in ("results", "details", "artifacts")}


@pytest.mark.slow
async def test_every_order_of_shards_and_corrections_leads_to_the_same_state(store: Store) -> None:
    states = []
    for number, order in enumerate(permutations(range(4))):
        run_id = f"run_{number}"
        events = [
            shard(1, FAILED, second=1, run_id=run_id),
            shard(1, PASSED, second=2, run_id=run_id),
            shard(2, result("pays", "skipped"), run_id=run_id),
            run_event(run_id, [result("pays", "canceled")], completed_at="2026-05-20T12:00:00Z"),
        ]
        await store.ingest_each(*(events[index] for index in order))
        states.append([await store.results(run_id), await _of_run(store, run_id)])
    assert [state[:1] for state in states] == [[[("pays", "canceled", 812, 1, False)]]] * len(states)
    assert all(state == states[0] for state in states)


async def _of_run(store: Store, run_id: str) -> Any:
    return [row[1:] for row in (await store.snapshot())["shard_results"] if row[0] == run_id]


async def test_older_event_and_repeated_event_change_nothing(store: Store) -> None:
    await store.ingest_each(shard(1, FAILED, second=5), shard(2, PASSED, second=5))
    before = await store.snapshot()
    run = await store.run()
    rows = await store.pool.fetch("SELECT ctid::text, xmin::text FROM shard_results ORDER BY ctid")
    await store.ingest_each(shard(1, PASSED, second=4), shard(1, FAILED, second=5), shard(2, FAILED, second=4))
    assert await store.snapshot() == before
    assert await store.run() == run
    assert await store.pool.fetch("SELECT ctid::text, xmin::text FROM shard_results ORDER BY ctid") == rows
    assert (await counts(store))[2:] == [(0, 0, 1)] * 3


async def test_correction_that_does_not_decide_changes_no_visible_result(store: Store) -> None:
    await store.ingest_each(shard(1, FAILED), shard(2, result("pays", "skipped")))
    before = await _state(store)
    await store.ingest(shard(2, PASSED, second=1))
    assert await _state(store) == before
    assert (await counts(store))[-1] == (1, 0, 1)
    await store.ingest(shard(1, result("pays", "skipped"), second=1))
    assert await statuses(store) == [("pays", "skipped")]


async def test_event_without_a_shard_does_not_remove_a_failure_of_a_shard(store: Store) -> None:
    await store.ingest_each(shard(1, FAILED), run_event(results=[PASSED], time="2026-05-20T13:00:00Z"))
    assert await statuses(store) == [("pays", "failed")]
    run = await store.run()
    assert run is not None
    assert (run["shards"], run["complete"]) == ([1], False)


async def test_status_that_a_shard_states_does_not_replace_that_of_another_shard(store: Store) -> None:
    for number, status in [(1, "failed"), (2, "passed")]:
        time = f"2026-05-20T12:00:0{number}Z"
        await store.ingest(
            run_event(results=[result(f"case {number}", status)], shard=number, status=status, time=time)
        )
    run = await store.run()
    assert run is not None
    assert run["status_name"] == "failed"


async def test_runs_without_shards_have_no_rows_of_shards(store: Store) -> None:
    await store.ingest_each(
        run_event(results=[PASSED]), run_event(results=[FAILED], time="2026-05-20T13:00:00Z"), shard(1, result("other"))
    )
    assert await statuses(store) == [("other", "passed"), ("pays", "failed")]
    assert await rows_of_shards(store) == 0
    assert await counts(store) == [(0, 0, 0), (1, 0, 0), (0, 0, 0)]


async def test_results_of_one_batch_count_once_for_the_event_that_replaced_them(store: Store) -> None:
    await store.ingest(run_event(results=[FAILED, result("other")]))
    events = [run_event(results=[PASSED], time=f"2026-05-20T13:00:0{second}Z") for second in (1, 2)]
    await store.ingest(*events)
    assert sorted(await counts(store)) == [(0, 0, 0), (0, 0, 0), (1, 1, 0)]


@pytest.mark.parametrize("number", [None, 3])
async def test_event_that_expects_shards_without_a_valid_shard_is_rejected(store: Store, number: int | None) -> None:
    [outcome] = await store.ingest(run_event(results=[PASSED], expected_shards=2, shard=number))
    assert (outcome.status, outcome.reason) == ("rejected", "invalid")
    assert outcome.message == "data.run.shard: must be a number from 1 to expected_shards (2)"
