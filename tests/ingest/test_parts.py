"""Parts of a run and the attempts of their jobs: storage, the result that decides, and the limit of a run."""

from itertools import permutations
from typing import Any

import pytest

from service.domain.variants import canonical_variant
from service.runs import model as runs_model
from service.runs.model import RunPart
from tests.run_events import result, run_event
from tests.served import serve
from tests.stored import Store

FAILED = result("pays", "failed", failure={"message": "no money"}, artifacts=[{"name": "pay.png", "uri": "s3://first"}])
PASSED = result("pays", "passed", artifacts=[{"name": "pay.png", "uri": "s3://second"}])


def of(part: str | None, attempt: int | None = None, *results: Any, second: int = 0, **run: Any) -> Any:
    time = f"2026-05-20T12:00:{second:02}Z"
    variant = run.pop("variant", None)
    event = run_event(
        results=list(results), time=time, completed_at="2026-05-20T12:00:00Z", part=part, attempt=attempt, **run
    )
    event["data"]["variant"] = variant
    return event


async def run_of(store: Store) -> dict[str, Any]:
    run = await store.run()
    assert run is not None
    return run


async def stored_parts(store: Store) -> list[tuple[int, RunPart, bool]]:
    rows = await store.pool.fetch("SELECT * FROM run_parts ORDER BY run_key, number")
    return [
        (
            row["number"],
            RunPart(row["name"], canonical_variant(row["variant"]), row["shard"], row["attempt"]),
            row["has_results"],
        )
        for row in rows
    ]


@pytest.mark.parametrize("order", [(0, 1), (1, 0)])
@pytest.mark.parametrize("as_one_batch", [True, False])
async def test_case_that_passes_in_a_later_attempt_is_flaky(
    store: Store, order: tuple[int, int], as_one_batch: bool
) -> None:
    events = [of("test", 1, FAILED, second=9), of("test", 4, PASSED)]
    arranged = [events[index] for index in order]
    await (store.ingest(*arranged) if as_one_batch else store.ingest_each(*arranged))
    assert await store.results() == [("pays", "passed", 812, 2, True)]
    run = await run_of(store)
    assert (run["status_name"], run["failed"], run["passed"], run["flaky"]) == ("passed", 0, 1, 1)
    details = await store.pool.fetch("SELECT message, is_last_attempt, flaky FROM result_details ORDER BY attempt")
    assert [tuple(row) for row in details] == [("no money", False, True), (None, True, False)]
    files = await store.pool.fetch("SELECT name, uri FROM artifacts ORDER BY name")
    assert [tuple(row) for row in files] == [("pay (attempt 2).png", "s3://second"), ("pay.png", "s3://first")]


async def test_rerun_of_the_failed_tests_keeps_the_others(store: Store) -> None:
    await store.ingest_each(of("test", 1, FAILED, result("ships", "failed")), of("test", 2, PASSED))
    assert [row[:2] for row in await store.results()] == [("pays", "passed"), ("ships", "failed")]


@pytest.mark.parametrize("seconds", [(1, 2), (2, 1)])
async def test_jobs_of_one_part_and_attempt_do_not_correct_each_other(store: Store, seconds: tuple[int, int]) -> None:
    first, second = seconds
    await store.ingest_each(of("test", 1, FAILED, second=first), of("test", 1, PASSED, second=second))
    assert [row[:2] for row in await store.results()] == [("pays", "failed")]


async def test_part_without_an_attempt_is_corrected_by_time(store: Store) -> None:
    await store.ingest_each(of("test", None, PASSED, second=2), of("test", None, FAILED, second=1))
    assert await store.results() == [("pays", "passed", 812, 1, False)]


async def test_attempt_decides_over_an_event_without_an_attempt(store: Store) -> None:
    await store.ingest_each(of(None, 1, PASSED), run_event(results=[FAILED], time="2026-05-20T13:00:00Z"))
    assert await store.results() == [("pays", "passed", 812, 2, True)]
    assert [part for _, part, _ in await stored_parts(store)] == [RunPart(), RunPart(attempt=1)]


async def test_pass_of_another_part_does_not_erase_a_flaky_pass(store: Store) -> None:
    flaky = result("pays", attempts=[{"status": "failed"}, {"status": "passed"}])
    await store.ingest_each(of("a", 1, result("pays", duration_ms=9000)), of("b", 1, flaky), of("c", 1, PASSED))
    assert await store.results() == [("pays", "passed", 812, 2, True)]


async def test_upload_of_another_part_does_not_clear_missing_failures(store: Store) -> None:
    await store.ingest_each(of("a", 1, status="failed"), of("b", 1, PASSED, second=5), of(None, None, PASSED, second=6))
    run = await run_of(store)
    assert (run["failures_missing"], run["status_name"]) == (True, "error")
    await store.ingest(of("a", 2, PASSED, status="passed"))
    run = await run_of(store)
    assert (run["failures_missing"], run["status_name"]) == (False, "passed")


async def test_upload_of_another_variant_does_not_clear_missing_failures(store: Store) -> None:
    await store.ingest_each(
        of(None, None, status="failed", variant={"os": "linux"}),
        of(None, None, PASSED, second=5, variant={"os": "windows"}),
    )
    assert (await run_of(store))["failures_missing"] is True


async def test_status_of_the_highest_attempt_counts(store: Store) -> None:
    await store.ingest_each(of("a", 2, PASSED, status="passed"), of("a", 1, PASSED, status="canceled", second=5))
    assert (await run_of(store))["status_name"] == "passed"


async def test_parts_are_stored_with_their_numbers(store: Store) -> None:
    await store.ingest(of("test", 8, PASSED, shard=2), of("test", 9, shard=2), run_event(results=[PASSED], shard=3))
    await store.ingest_each(of("test", 9, PASSED, shard=2), of(None, None, PASSED, variant={"os": "linux"}))
    await store.ingest(run_event(results=[result("other")]))
    assert await stored_parts(store) == [
        (0, RunPart(), True),
        (3, RunPart(shard=3), True),
        (10_001, RunPart("test", "", 2, 8), True),
        (10_002, RunPart("test", "", 2, 9), True),
        (10_003, RunPart(variant='{"os":"linux"}'), True),
    ]


async def test_empty_upload_is_a_part_without_results(store: Store) -> None:
    await store.ingest(of("test", 1, status="passed"))
    assert await stored_parts(store) == [(10_001, RunPart("test", "", 0, 1), False)]


async def test_empty_upload_in_one_batch_does_not_hide_the_results_of_its_part(store: Store) -> None:
    await store.ingest(run_event("run_1", part="test", attempt=1))
    await store.ingest(of("docs", 1, PASSED), of("docs", 1, status="passed", second=1))
    assert [has_results for _, _, has_results in await stored_parts(store)] == [True, True]


@pytest.mark.parametrize("as_one_batch", [True, False])
@pytest.mark.parametrize("order", list(permutations(range(3))))
async def test_events_with_and_without_a_part_lead_to_the_same_parts_in_any_order(
    database_url: str, order: tuple[int, ...], as_one_batch: bool
) -> None:
    shards: dict[str, Any] = {"expected_shards": 2}
    events = [
        of("test", 1, result("pays"), shard=1, second=1, **shards),
        run_event(results=[result("ships")], time="2026-05-20T12:00:02Z"),
        of(None, None, result("opens"), shard=2, second=3, **shards),
    ]
    arranged = [events[index] for index in order]
    async with serve(database_url) as api:
        await (api.store.ingest(*arranged) if as_one_batch else api.store.ingest_each(*arranged))
        stored = {part: has_results for _, part, has_results in await stored_parts(api.store)}
        run = await api.get("/v1/runs/run_1")
    assert stored == {RunPart(): True, RunPart(shard=2): True, RunPart("test", "", 1, 1): True}
    assert run["parts"] == [
        {"part": "test", "variant": {}, "shard": 1, "attempt": 1},
        {"part": None, "variant": {}, "shard": 2, "attempt": None},
        {"part": None, "variant": {}, "shard": None, "attempt": None},
    ]
    assert (run["complete"], run["status"], run["counts"]["passed"]) == (True, "passed", 3)


async def test_run_with_too_many_parts_rejects_further_ones(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(runs_model, "MAX_ASSIGNED", 2)
    await store.ingest_each(of("a", 1, PASSED), of("b", 1, PASSED))
    known, new = await store.ingest(of("b", 1, result("other")), of("c", 1, FAILED))
    assert (known.status, new.status, new.reason) == ("stored", "rejected", "invalid")
    assert new.message is not None
    assert new.message.startswith("part: a run has at most 2 parts, variants, and attempts")
    assert [row[:2] for row in await store.results()] == [("other", "passed"), ("pays", "passed")]


@pytest.mark.parametrize("fields", [{"attempt": 0}, {"attempt": 2**53 + 1}, {"part": ""}, {"part": "a" * 201}])
async def test_invalid_part_is_rejected(store: Store, fields: dict[str, Any]) -> None:
    [outcome] = await store.ingest(run_event(**fields))
    assert (outcome.status, outcome.reason) == ("rejected", "invalid")
    assert f"data.run.{next(iter(fields))}" in (outcome.message or "")


async def test_receipt_of_a_rejected_event_has_the_part(store: Store) -> None:
    await store.ingest(of("test", 3, shard=0), of("test", 3, PASSED))
    rows = await store.pool.fetch("SELECT status, part FROM receipts ORDER BY status")
    assert [tuple(row) for row in rows] == [("rejected", "test"), ("stored", "test")]


async def test_part_has_results_although_another_part_decides_about_all_of_them(store: Store) -> None:
    await store.ingest_each(of("docs", 1), of("test", 1, FAILED), of("docs", 1, PASSED))
    assert [has_results for _, _, has_results in await stored_parts(store)] == [True, True]


async def test_rerun_that_skips_a_case_keeps_its_failure(store: Store) -> None:
    """Jest, for example, reports the cases that a rerun doesn't select as skipped."""
    for attempt, statuses in ((1, ("failed", "passed")), (2, ("skipped", "skipped"))):
        results = [result(name, status) for name, status in zip("ab", statuses, strict=True)]
        await store.ingest(run_event(results=results, part="unit", attempt=attempt, final=attempt == 2))
    assert [row[:2] for row in await store.results()] == [("a", "failed"), ("b", "passed")]


def executed(part: str | None, attempt: int | None, start: str, end: str) -> Any:
    event = of(part, attempt, PASSED)
    event["data"]["run"] |= {"started_at": f"2026-05-20T12:{start}Z", "completed_at": f"2026-05-20T12:{end}Z"}
    return event


FIRST, RERUN = executed("unit", 1, "00:00", "00:03"), executed("unit", 2, "02:46", "02:49")
PARALLEL = executed("web", None, "00:01", "00:05")


@pytest.mark.parametrize(
    ("events", "seconds"),
    [((FIRST, RERUN, PARALLEL), (3, 6, 8)), ((RERUN, PARALLEL, FIRST), (3, 7, 8)), ((PARALLEL, RERUN), (4, 7))],
)
async def test_duration_leaves_out_the_pause_before_a_rerun(
    store: Store, events: tuple[Any, ...], seconds: tuple[int, ...]
) -> None:
    for event, expected in zip(events, seconds, strict=True):
        await store.ingest_each(event)
        assert (await run_of(store))["duration_ms"] == 1_000 * expected


async def test_duration_of_one_batch_leaves_out_the_pause_before_a_rerun(store: Store) -> None:
    await store.ingest(RERUN, FIRST, PARALLEL)
    assert (await run_of(store))["duration_ms"] == 8_000


UNIT, E2E = executed(None, None, "00:00", "00:01"), executed(None, None, "08:04", "08:06")
CORRECTION = executed(None, None, "08:04", "08:07")


@pytest.mark.parametrize("as_one_batch", [True, False])
@pytest.mark.parametrize("order", list(permutations(range(3))))
async def test_duration_of_one_part_without_an_attempt_leaves_out_its_pauses(
    store: Store, order: tuple[int, ...], as_one_batch: bool
) -> None:
    arranged = [of(None, None, PASSED), *((UNIT, E2E, CORRECTION)[index] for index in order)]
    await (store.ingest(*arranged) if as_one_batch else store.ingest_each(*arranged))
    await store.ingest_each(*arranged)  # delivered again
    run = await run_of(store)
    assert run["duration_ms"] == 4_000
    assert f"{run['started_at']:%M:%S} {run['last_completed_at']:%M:%S}" == "00:00 08:07"


NOON_MS = 1_779_278_400_000


def seconds_after_noon(*seconds: int | None) -> list[int | None]:
    return [None if second is None else NOON_MS + 1_000 * second for second in seconds]


@pytest.mark.parametrize(
    ("part_spans", "seconds"),
    [
        (None, 169),
        ({"10001": seconds_after_noon(0, 3), "10002": seconds_after_noon(166, 169)}, 6),
        ({"10001": seconds_after_noon(0, 3), "10002": seconds_after_noon(None, 169)}, 3),
        ({"10001": seconds_after_noon(0, 3)}, 169),
        ([seconds_after_noon(0, 3), seconds_after_noon(160, 162)], 169),
    ],
    ids=[
        "without spans", "one span per part", "a part without a start", "a part with the span of the run",
        "an earlier version has added a part",
    ],
)  # fmt: skip
async def test_run_of_an_earlier_version_keeps_its_duration_until_a_part_arrives(
    store: Store, part_spans: Any, seconds: int
) -> None:
    await store.ingest(FIRST, RERUN)
    await store.pool.execute("UPDATE runs SET part_spans = $1, duration_ms = $2", part_spans, 1_000 * seconds)
    await store.ingest_each(FIRST)
    assert (await run_of(store))["duration_ms"] == 1_000 * seconds
    await store.ingest_each(executed("unit", 3, "30:00", "30:03"))
    assert (await run_of(store))["duration_ms"] == 1_000 * (seconds + 3)
