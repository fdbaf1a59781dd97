"""Completeness of runs that arrive in several events, missing failures, and runs without events."""

from typing import Any

import pytest

from tests.run_events import result, run_event
from tests.stored import Store

LATER = "2026-05-20T13:00:00Z"


async def run_of(store: Store) -> dict[str, Any]:
    run = await store.run()
    assert run is not None
    return run


async def event_types(store: Store) -> list[str]:
    rows = await store.pool.fetch("SELECT type FROM events ORDER BY created_at, event_id")
    return [row["type"] for row in rows]


async def test_run_stays_open_until_a_final_event(store: Store) -> None:
    await store.ingest(run_event(results=[result("a")], final=False))
    assert (await run_of(store))["complete"] is False
    assert await event_types(store) == ["run.updated"]
    await store.ingest(run_event(results=[result("b")], final=True))
    assert (await run_of(store))["complete"] is True
    assert await event_types(store) == ["run.updated", "run.completed"]


async def test_final_event_that_arrives_first_completes_the_run(store: Store) -> None:
    await store.ingest(run_event(results=[result("b")], final=True))
    await store.ingest(run_event(results=[result("a")], final=False))
    assert (await run_of(store))["complete"] is True
    assert await event_types(store) == ["run.completed", "run.updated"]


@pytest.mark.parametrize("fields", [{"expected_shards": 2, "shard": 1}, {"expected_results": 3}])
async def test_final_can_not_be_combined_with_another_expectation(store: Store, fields: dict[str, Any]) -> None:
    [outcome] = await store.ingest(run_event(final=True, **fields))
    assert (outcome.status, outcome.reason) == ("rejected", "invalid")
    assert f"data.run.final: must not be combined with {next(iter(fields))}" in (outcome.message or "")


async def test_shards_and_results_can_not_be_combined(store: Store) -> None:
    [outcome] = await store.ingest(run_event(expected_shards=2, shard=1, expected_results=3))
    assert "expected_results: must not be combined with expected_shards" in (outcome.message or "")


async def test_status_of_one_of_several_events_does_not_replace_a_worse_status(store: Store) -> None:
    failed = result("a", "failed", failure={"message": "no"})
    await store.ingest(run_event(results=[failed], final=False, status="failed"))
    await store.ingest(run_event(results=[result("b")], final=True, status="passed", time=LATER))
    assert (await run_of(store))["status_name"] == "failed"


async def test_run_without_notifications_has_only_an_internal_event(store: Store) -> None:
    await store.ingest(run_event(results=[result("a")], notify=False))
    assert (await run_of(store))["complete"] is True
    assert await event_types(store) == ["run.stored"]
    await store.ingest(run_event(results=[result("b")], time=LATER))
    assert await event_types(store) == ["run.stored", "run.updated"]


@pytest.mark.parametrize("status", ["failed", "error"])
async def test_declared_failure_that_is_missing_makes_the_run_an_error(store: Store, status: str) -> None:
    await store.ingest(run_event(results=[result("a")], status=status))
    run = await run_of(store)
    assert (run["status_name"], run["failures_missing"]) == ("error", True)


async def test_declared_failure_that_is_contained_is_not_missing(store: Store) -> None:
    failed = result("a", "failed", failure={"message": "no"})
    await store.ingest(run_event(results=[failed], status="error"))
    run = await run_of(store)
    assert (run["status_name"], run["failures_missing"]) == ("error", False)


async def test_newest_event_of_a_shard_decides_about_missing_failures(store: Store) -> None:
    shards: dict[str, Any] = {"expected_shards": 2}
    await store.ingest(run_event(results=[], status="failed", shard=1, **shards))
    await store.ingest(run_event(results=[result("b")], status="passed", shard=2, time=LATER, **shards))
    assert (await run_of(store))["failures_missing"] is True
    await store.ingest(run_event(results=[result("a")], status="passed", shard=1, time=LATER, **shards))
    run = await run_of(store)
    assert (run["status_name"], run["failures_missing"]) == ("passed", False)


@pytest.mark.parametrize("number", [17, 17.0, "17"])
async def test_branch_and_number_of_the_pull_request_are_stored(store: Store, number: float | str) -> None:
    await store.ingest(run_event(base_branch="main", pull_request=number))
    run = await run_of(store)
    assert (run["base_branch"], run["pull_request"]) == ("main", "17")


@pytest.mark.parametrize("later", [{"final": True}, {"shard": 1, "expected_shards": 1}])
@pytest.mark.parametrize("results", [[result("b", "failed")], []], ids=["contained", "canceled"])
async def test_status_of_a_complete_run_does_not_hide_later_parts(
    store: Store, later: dict[str, Any], results: list[Any]
) -> None:
    events = [
        run_event(results=[result("a")], status="passed"),
        run_event(results=results, time=LATER, status="failed" if results else "canceled", **later),
    ]
    await store.ingest_each(*events)
    run = await run_of(store)
    assert run["status_name"] == ("failed" if results else "canceled")


async def test_newest_status_of_a_complete_run_replaces_the_older_one(store: Store) -> None:
    await store.ingest(run_event(results=[result("a", "failed")], status="failed"))
    await store.ingest(run_event(results=[], status="passed", time=LATER))
    assert (await run_of(store))["status_name"] == "passed"


async def test_rejected_failure_is_missing_also_if_the_event_contains_another_failure(store: Store) -> None:
    invalid = result("b", "failed", duration_ms=-1)
    await store.ingest(run_event(results=[result("a"), invalid]))
    run = await run_of(store)
    assert (run["status_name"], run["failures_missing"], run["passed"]) == ("error", True, 1)
    failed = result("c", "failed", failure={"message": "no"})
    await store.ingest(run_event(results=[result("a"), invalid, failed], time=LATER))
    run = await run_of(store)
    assert (run["status_name"], run["failures_missing"]) == ("error", True)
    await store.ingest(run_event(results=[result("a"), failed], time="2026-05-20T14:00:00Z"))
    run = await run_of(store)
    assert (run["status_name"], run["failures_missing"]) == ("failed", False)


async def test_failure_with_inconsistent_attempts_is_missing(store: Store) -> None:
    inconsistent = result("b", "failed", attempts=[{"status": "passed"}])
    await store.ingest(run_event(results=[result("a"), inconsistent]))
    assert (await run_of(store))["failures_missing"] is True


async def test_rejected_result_that_did_not_fail_leaves_the_run_passed(store: Store) -> None:
    await store.ingest(run_event(results=[result("a"), result("b", "passed", duration_ms=-1)]))
    run = await run_of(store)
    assert (run["status_name"], run["failures_missing"]) == ("passed", False)


SHARD: dict[str, Any] = {"shard": 1, "expected_shards": 2}


@pytest.mark.parametrize("order", [(0, 1), (1, 0)])
async def test_event_without_a_shard_does_not_complete_a_run_whose_shards_are_missing(
    store: Store, order: tuple[int, int]
) -> None:
    events = [run_event(results=[result("a")], **SHARD), run_event(results=[result("b")])]
    await store.ingest_each(*(events[index] for index in order))
    assert (await run_of(store))["complete"] is False


@pytest.mark.parametrize("order", [(0, 1), (1, 0)])
async def test_final_event_completes_a_run_whose_shards_are_missing(store: Store, order: tuple[int, int]) -> None:
    events = [run_event(results=[result("a")], **SHARD), run_event(results=[result("b")], final=True)]
    await store.ingest_each(*(events[index] for index in order))
    assert (await run_of(store))["complete"] is True


async def test_expected_results_do_not_complete_a_run_whose_shards_are_missing(store: Store) -> None:
    events = [run_event(results=[result("a")], **SHARD), run_event(results=[result("b")], expected_results=2)]
    await store.ingest_each(*events)
    assert (await run_of(store))["complete"] is False


async def test_run_that_becomes_incomplete_is_completed_without_a_second_event(store: Store) -> None:
    await store.ingest_each(run_event(results=[result("b")]), run_event(results=[result("a")], **SHARD))
    assert (await run_of(store))["complete"] is False
    await store.ingest(run_event(results=[result("c")], shard=2, expected_shards=2))
    assert (await run_of(store))["complete"] is True
    assert await event_types(store) == ["run.completed", "run.updated", "run.updated"]


async def test_complete_run_of_an_earlier_version_stays_complete(store: Store) -> None:
    await store.ingest(run_event(results=[result("b")]))
    await store.pool.execute("UPDATE runs SET closed = NULL, sent_at_once = NULL, has_been_complete = NULL")
    await store.ingest(run_event(results=[result("a")], **SHARD))
    assert (await run_of(store))["complete"] is True
    assert await event_types(store) == ["run.completed", "run.updated"]


async def test_run_that_the_previous_version_completes_stays_complete(store: Store) -> None:
    await store.ingest(run_event(results=[result("a")], final=False))
    await store.pool.execute("UPDATE runs SET complete = true")  # a final event in a process of the previous version
    await store.ingest(run_event(results=[result("b")], final=False))
    assert (await run_of(store))["complete"] is True
    assert await event_types(store) == ["run.updated", "run.updated"]
