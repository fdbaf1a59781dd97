"""Variants are part of the identity of a case, for results with and without a case ID."""

from typing import Any

import pytest

from service.ingest.ingest_runs import RunIngest
from service.ingest.store_batch import BatchStore
from tests.run_events import result, run_event
from tests.stored import RETENTION, Store, messages

LINUX, MACOS = {"os": "linux", "python": "3.12"}, {"os": "macos", "python": "3.12"}


async def variants(store: Store) -> list[tuple[str, dict[str, str], int]]:
    rows = await store.pool.fetch(
        "SELECT name, variant, r.attempts FROM results r JOIN cases c USING (org_id, case_key) ORDER BY 1"
    )
    return [tuple(row) for row in rows]


def with_variant(event: Any, variant: Any) -> Any:
    event["data"]["variant"] = variant
    return event


@pytest.mark.parametrize("case", [{}, {"case_id": "tc_1"}])
async def test_each_variant_is_a_case_of_its_own(store: Store, case: dict[str, str]) -> None:
    results = [result("a", variant=variant, **case) for variant in (LINUX, MACOS, dict(reversed(LINUX.items())), {})]
    event = with_variant(run_event(results=[*results, result("a", **case)]), {"os": "windows"})
    [outcome] = await store.ingest(event)
    assert outcome.status == "stored"
    repeats = 2 if case else 1
    expected = [("a", LINUX, repeats), ("a", MACOS, 1), ("a", {"os": "windows"}, 1), ("a", {}, 1)]
    found = await variants(store)
    if not case:
        expected.append(("a", LINUX, 1))  # the second occurrence
    assert sorted(map(str, found)) == sorted(map(str, expected))
    await store.ingest(with_variant(run_event("run_2", results=[*results, result("a", **case)]), {"os": "windows"}))
    assert await store.pool.fetchval("SELECT count(*) FROM cases") == len(expected)


async def test_other_process_finds_the_stored_cases_of_variants(store: Store) -> None:
    await store.ingest(run_event(results=[result("a", variant=LINUX)]))
    other = RunIngest(BatchStore(store.pool, RETENTION))
    [outcome] = await other.ingest(messages(run_event("run_2", results=[result("a", variant=LINUX)])))
    assert (outcome.status, outcome.results) == ("stored", 1)
    assert await store.pool.fetchval("SELECT count(*) FROM cases") == 1


@pytest.mark.parametrize(
    ("variant", "reason"),
    [
        ({"": "x"}, "must not be empty"), ({"os": ""}, "variant.os: must not be empty"),
        ({"os": "x" * 65}, "variant.os: must have at most 64 characters"), ({"os": 1}, "variant.os: must be a string"),
        ({str(number): "x" for number in range(9)}, "variant: must have at most 8 items"),
        ({"os": "a\nb"}, "variant.os: must contain only printable characters"), (["os"], "variant: must be an object"),
    ],
)  # fmt: skip
async def test_invalid_variant_is_rejected(store: Store, variant: Any, reason: str) -> None:
    [outcome] = await store.ingest(run_event(results=[result("a"), result("b", variant=variant)]))
    assert (outcome.status, outcome.results) == ("partial", 1)
    [receipt] = await store.receipts()
    assert reason in receipt["problems"][0]["reason"]
    [outcome] = await store.ingest(with_variant(run_event(), variant))
    assert (outcome.status, outcome.reason) == ("rejected", "invalid")
    assert reason in (outcome.message or "")
