"""Fingerprints of stored results: of the deciding failure, for every order of shards and corrections."""

from itertools import permutations
from typing import Any

import pytest

from service.failures.fingerprints import fingerprint
from tests.run_events import result, run_event
from tests.stored import Store

COMPLETED_AT = "2026-05-20T12:00:00Z"


def failure(message: str, status: str = "failed", **fields: Any) -> dict[str, Any]:
    return result("pays", status, failure={"type": "E", "message": message}, **fields)


def of(message: str, suite: str = "auth.login") -> int:
    return fingerprint("shop", suite, "E", message, None)


async def stored(store: Store, run_id: str = "run_1") -> list[tuple[int, int | None]]:
    """Return the attempts of a run with their fingerprints."""
    rows = await store.pool.fetch(
        "SELECT attempt, fingerprint FROM result_details JOIN runs USING (org_id, run_key) WHERE run_id = $1"
        " ORDER BY case_key, attempt",
        run_id,
    )
    return [tuple(row) for row in rows]


@pytest.mark.parametrize("status", ["failed", "error"])
async def test_last_attempt_of_a_failing_result_has_a_fingerprint(store: Store, status: str) -> None:
    attempts = [{"status": "failed", "failure": {"message": "early"}}, {"status": status}]
    await store.ingest(run_event(results=[failure("no money for order 1", status, attempts=attempts)]))
    assert await stored(store) == [(1, None), (2, of("no money for order 2"))]


async def test_repeated_case_id_has_the_fingerprint_of_its_last_attempt(store: Store) -> None:
    await store.ingest(run_event(results=[failure("first", case_id="a"), failure("second", case_id="a")]))
    assert await stored(store) == [(1, None), (2, of("second"))]


async def test_failure_without_texts_has_a_fingerprint(store: Store) -> None:
    await store.ingest(run_event(results=[result("pays", "failed"), result("ships", "failed")]))
    assert {number for _, number in await stored(store)} == {fingerprint("shop", "auth.login", None, None, None)}


async def test_suite_is_truncated_first(store: Store) -> None:
    await store.ingest(run_event(results=[failure("two words", suite="s" * 2_000)]))
    assert await stored(store) == [(1, of("two words", "s" * 1_000))]


@pytest.mark.parametrize("status", ["passed", "skipped", "canceled"])
async def test_other_results_have_no_fingerprint(store: Store, status: str) -> None:
    attempts = [{"status": "failed", "failure": {"message": "early"}}, {"status": status}]
    await store.ingest(run_event(results=[failure("not relevant", status, attempts=attempts)]))
    assert await stored(store) == [(1, None), (2, None)]


async def test_correction_replaces_the_fingerprint(store: Store) -> None:
    await store.ingest(run_event(results=[failure("old")]))
    await store.ingest(run_event(results=[failure("new")], time="2026-05-20T13:00:00Z"))
    assert await stored(store) == [(1, of("new"))]


@pytest.mark.parametrize("as_one_batch", [True, False])
async def test_fingerprint_is_that_of_the_deciding_shard(store: Store, as_one_batch: bool) -> None:
    """After a correction, the result of another shard, which only shard_results or result_details contains, decides."""
    for number, order in enumerate(permutations(range(3))):
        run_id = f"run_{number}"
        shards = [
            (1, failure("worse", "error"), "12:00:00"),
            (1, result("pays"), "12:00:02"),
            (2, failure("other"), "12:00:01"),
        ]
        events = [
            run_event(
                run_id, [stated], time=f"2026-05-20T{time}Z", completed_at=COMPLETED_AT, shard=shard, expected_shards=2
            )
            for shard, stated, time in (shards[index] for index in order)
        ]
        await (store.ingest(*events) if as_one_batch else store.ingest_each(*events))
        assert await stored(store, run_id) == [(1, of("other"))], order
