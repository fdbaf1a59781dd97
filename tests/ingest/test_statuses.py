"""No result disappears: unknown statuses are errors, and the run lacks failures if another result can't be stored."""

from typing import Any

import pytest

from tests.run_events import result, run_event
from tests.stored import Store

GOOD = result("good")


async def stored_status(store: Store, odd: dict[str, Any]) -> tuple[Any, ...]:
    """Return the status of a result in a run with a passed one, its message, and the problems of the receipt."""
    await store.ingest(run_event(results=[GOOD, odd], status="passed"))
    statuses = {name: status for name, status, *_ in await store.results()}
    message = await store.pool.fetchval("SELECT message FROM result_details WHERE is_last_attempt")
    [receipt] = await store.receipts()
    return statuses.get("odd"), message, receipt["status"], [problem["reason"] for problem in receipt["problems"]]


@pytest.mark.parametrize(
    ("word", "status"),
    [("FAILED", "failed"), ("Fail", "failed"), ("broken", "error"), ("timedOut", "error"), ("not run", "skipped")],
)
async def test_word_of_a_producer_is_read(store: Store, word: str, status: str) -> None:
    assert await stored_status(store, result("odd", word)) == (status, None, "stored", [])


@pytest.mark.parametrize(
    ("status", "reason"),
    [
        ("exploded", "unknown status 'exploded'"), ("", "unknown status ''"), (7, "unknown status 7"),
        (None, "unknown status: the status is missing"), (["failed"], "unknown status of type list"),
    ],
)  # fmt: skip
async def test_unknown_status_is_stored_as_an_error_and_named(store: Store, status: Any, reason: str) -> None:
    stored = await stored_status(store, result("odd", status))
    assert stored == ("error", reason, "stored", [f"status: {reason}; stored as error"])
    run = await store.run()
    assert run is not None
    assert run["failures_missing"] is False


async def test_result_without_a_status_is_an_error_that_keeps_its_own_message(store: Store) -> None:
    odd = {"name": "odd", "failure": {"message": "expected 200", "type": "Http"}}
    status, message, *_ = await stored_status(store, odd)
    assert (status, message) == ("error", "unknown status: the status is missing\nexpected 200")


@pytest.mark.parametrize(
    ("status", "attempts", "expected", "problem"),
    [
        ("PASSED", ["FAILED", "Ok"], ["failed", "passed"], None),
        ("passed", ["odd", "passed"], ["error", "passed"], "attempts.0.status: unknown status 'odd'"),
        ("passed", ["failed", "odd"], ["failed", "error"], "attempts.1.status: unknown status 'odd'"),
        ("odd", ["failed", "passed"], ["failed", "error"], "status: unknown status 'odd'"),
        ("odd", [None], ["error"], "status: unknown status 'odd'"),
    ],
    ids=range(5),
)
async def test_statuses_of_attempts_are_read(
    store: Store, status: str, attempts: list[Any], expected: list[str], problem: str | None
) -> None:
    odd = result("odd", status, attempts=[{"status": attempt} for attempt in attempts])
    stored, _, receipt, problems = await stored_status(store, odd)
    rows = await store.pool.fetch("SELECT status_name(status) AS status FROM result_details ORDER BY attempt")
    assert (stored, [row["status"] for row in rows]) == (expected[-1], expected)
    assert (receipt, problems) == ("stored", [f"{problem}; stored as error"] if problem else [])


@pytest.mark.parametrize(("word", "status"), [("FAILED", "failed"), ("Succeeded", "passed"), ("cancelled", "canceled")])
async def test_status_of_a_run_is_read(store: Store, word: str, status: str) -> None:
    await store.ingest(run_event(results=[result("a", "Failure")] if status == "failed" else [GOOD], status=word))
    run = await store.run()
    assert run is not None
    assert (run["status_name"], run["failures_missing"]) == (status, False)


@pytest.mark.parametrize("word", ["odd", "", "skipped", 7, ["passed"]])
async def test_run_with_an_unknown_status_is_an_error(store: Store, word: Any) -> None:
    [outcome] = await store.ingest(run_event(results=[GOOD], status=word))
    run = await store.run()
    [receipt] = await store.receipts()
    assert run is not None
    assert (outcome.status, run["status_name"], run["failures_missing"]) == ("stored", "error", True)
    assert receipt["problems"][0]["reason"].startswith("run.status: unknown status")


@pytest.mark.parametrize(
    ("dropped", "is_missing"),
    [
        (result("odd", "failed", duration_ms=-1), True), (result("odd", "exploded", duration_ms=-1), True),
        (result("odd", "canceled", duration_ms=-1), True), ({"status": "odd"}, True), (7, True), (None, True),
        (result("odd", "passed", attempts=[{"status": "failed"}]), True),
        (result("odd", "Passed", duration_ms=-1), False), (result("odd", "ignored", duration_ms=-1), False),
    ],
    ids=range(9),
)  # fmt: skip
async def test_run_lacks_failures_if_a_dropped_result_can_be_one(store: Store, dropped: Any, is_missing: bool) -> None:
    [outcome] = await store.ingest(run_event(results=[GOOD, result("known", "failed"), dropped], status="passed"))
    run = await store.run()
    assert run is not None
    assert (outcome.status, run["failures_missing"]) == ("partial", is_missing)
    assert (run["status_name"] == "error") is is_missing


async def test_run_lacks_a_failure_whose_case_key_collides(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("service.cases.model.case_key", lambda *_: 7)
    [outcome] = await store.ingest(run_event(results=[GOOD, result("other", "canceled")], status="passed"))
    run = await store.run()
    assert run is not None
    assert (outcome.status, run["status_name"], run["failures_missing"]) == ("partial", "error", True)


async def test_stated_status_does_not_hide_a_result_with_an_unknown_status(store: Store) -> None:
    for run_id, word in (("run_1", "exploded"), ("run_2", "failed")):  # a known failure can be accepted by the producer
        await store.ingest(run_event(run_id, [GOOD, result("odd", word)], status="passed"))
    statuses = [run["status_name"] for run_id in ("run_1", "run_2") if (run := await store.run(run_id))]
    assert statuses == ["error", "passed"]
