"""Large events are parsed outside of the event loop and in parts, and their results are counted first."""

import asyncio
import threading
from typing import Any

import pytest
from pydantic import ValidationError

from service.ingest import parse_events
from service.ingest.parse_results import RESULT
from service.ingest.validate_events import LARGE_BODY_BYTES
from tests.event_loops import short_steps
from tests.run_events import body, result, run_event
from tests.stored import Store

LARGE = "x" * LARGE_BODY_BYTES


async def test_event_loop_continues_while_a_large_event_is_parsed(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    parse_event, event_loop_continues = parse_events.parse_event, threading.Event()

    def parse(*arguments: Any) -> Any:
        assert event_loop_continues.wait(10)
        return parse_event(*arguments)

    monkeypatch.setattr("service.ingest.batch_items.parse_event", parse)
    storing = asyncio.create_task(store.ingest(run_event(results=[result(LARGE)])))
    await asyncio.sleep(0.1)
    event_loop_continues.set()
    assert [outcome.status for outcome in await storing] == ["stored"]


async def test_large_event_is_stored_in_short_steps(store: Store) -> None:
    """The consumer handles the events of other organizations in the same event loop."""
    failed = [result(f"case {number}", "failed", failure={"message": "x"}) for number in range(5_000)]
    await store.ingest(run_event("earlier"))  # prepares the statements
    async with short_steps():
        await store.ingest(run_event(results=failed))


@pytest.mark.slow
async def test_large_event_is_stored_completely(store: Store) -> None:
    """The results, details, and new cases exceed each part, and three results are invalid."""
    failed = [result(f"case {number:04}", "failed", failure={"message": "x" * 30}) for number in range(12_000)]
    for index in (0, 5_500, 11_999):
        failed[index]["duration_ms"] = -1
    event = run_event(results=failed)
    assert len(body(event)) > LARGE_BODY_BYTES
    [outcome] = await store.ingest(event)
    assert (outcome.status, outcome.results) == ("partial", 11_997)
    for table in ("results", "result_details", "cases"):
        assert await store.pool.fetchval(f"SELECT count(*) FROM {table}") == 11_997
    [receipt] = await store.receipts()
    assert [problem["index"] for problem in receipt["problems"]] == [0, 5_500, 11_999]
    assert receipt["problems"][1]["reason"].startswith("duration_ms: must be")
    assert receipt["problems"][1]["name"] == "case 5500"


@pytest.mark.parametrize(
    "results", [[0] * 150_000, [result(attempts=[0] * 150_000)]], ids=["results", "listed attempts"]
)
async def test_too_many_results_are_rejected_before_they_are_validated(
    store: Store, monkeypatch: pytest.MonkeyPatch, results: list[Any]
) -> None:
    monkeypatch.setattr("service.ingest.parse_results.validate_result", None)
    [outcome] = await store.ingest(run_event(results=results))
    assert (outcome.status, outcome.reason) == ("rejected", "too_large")


@pytest.mark.parametrize("name", ["attempts", "artifacts"])
def test_validation_ends_at_the_first_invalid_item_of_a_list(name: str) -> None:
    """A description of each of a million invalid items would take seconds, during which no thread can continue."""
    with pytest.raises(ValidationError) as raised:
        RESULT.validate_python(result() | {name: [0] * 1_000})
    assert raised.value.error_count() == 1
