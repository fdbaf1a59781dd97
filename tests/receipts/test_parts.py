"""Receipts state the part of the run that an event or report contains: its shard and its variant."""

from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from tests.report_api import PASSING, Reports, serving_reports_with_ingester
from tests.run_events import run_event

LINUX = {"os": "linux"}
PART = {"shard": "2/3", "variant": "os:linux"}
NATIVE = b'{"run": {"shard": 2, "expected_shards": 3, "variant": {"os": "linux"}}, "results": [%s]}'


@pytest.fixture
async def reports(database_url: str, tmp_path: Path) -> AsyncIterator[Reports]:
    async with serving_reports_with_ingester(database_url, tmp_path) as opened:
        yield opened


async def parts(reports: Reports) -> list[tuple[str, int | None, Any]]:
    """Return the status, shard, and variant of each receipt of the run, newest first."""
    receipts = (await reports.api.get("/v1/receipts", {"run_id": "run_1"}))["data"]
    return [(receipt["status"], receipt["shard"], receipt["variant"]) for receipt in receipts]


async def test_receipt_has_the_part_from_the_first_response_on(reports: Reports) -> None:
    receipt = await reports.send(PASSING, params=PART)
    assert (receipt["shard"], receipt["variant"]) == (2, LINUX)
    stored = await reports.wait_until_finished(receipt)
    assert (stored["status"], stored["shard"], stored["variant"]) == ("stored", 2, LINUX)
    await reports.ingest(b"<testsuite>", params=PART)
    await reports.ingest(PASSING)
    assert await parts(reports) == [("stored", None, {}), ("rejected", 2, LINUX), ("stored", 2, LINUX)]


@pytest.mark.parametrize(("final", "complete"), [(None, True), ("true", True), ("false", False)])
async def test_shard_without_the_number_of_shards_leaves_the_completion_to_the_upload(
    reports: Reports, final: str | None, complete: bool
) -> None:
    receipt = await reports.ingest(PASSING, params={"shard": "2"} | ({"final": final} if final else {}))
    assert (receipt["status"], receipt["shard"]) == ("stored", 2)
    assert (await reports.api.get("/v1/runs/run_1"))["complete"] is complete


@pytest.mark.parametrize(
    ("result", "status"), [(b'{"name": "pays", "status": "passed"}', "stored"), (b'{"name": 7}', "rejected")]
)
async def test_report_can_state_its_part_itself(reports: Reports, result: bytes, status: str) -> None:
    await reports.ingest(NATIVE % result)
    assert await parts(reports) == [(status, 2, LINUX)]


@pytest.mark.parametrize(
    "report",
    [
        b'{"run": {"shard": 2, "variant": {"os": "linux"}, "completed_at": "1999-01-01T00:00:00Z"}, "results": []}',
        b'{"run": {"shard": 2, "variant": {"os": "linux"}, "final": "soon"}, "results": []}',
        b'{"shard": 2, "variant": {"os": "linux"}, "results": [{"name": "pa',
        b'{"run": {"shard": 2, "variant": {"os": "linux"}}, "results": [{"name": "pa',
        b'{"run": {"shard": 2, "variant": {"os": "linux"}}}\n{"name": "pays", "status": "passed"}\n{"name": "pa',
    ],
    ids=["time", "field", "truncated", "truncated run", "truncated lines"],
)
async def test_rejected_report_has_the_part_that_it_states_itself(reports: Reports, report: bytes) -> None:
    await reports.ingest(report)
    assert await parts(reports) == [("rejected", 2, LINUX)]


async def test_variant_of_a_result_is_not_the_part_of_a_rejected_report(reports: Reports) -> None:
    await reports.ingest(b'{"name": "pays", "variant": {"os": "linux"}, "status": "pa')
    assert await parts(reports) == [("rejected", None, {})]


@pytest.mark.parametrize(
    ("event", "part"),
    [
        (run_event(shard=2, expected_shards=3), ("stored", 2, LINUX)),
        (run_event(shard=2, expected_shards=3, started_at="soon"), ("rejected", 2, LINUX)),
        (run_event(shard=2, expected_shards=3, completed_at="1999-01-01T00:00:00Z"), ("rejected", 2, LINUX)),
        (run_event(shard=0), ("rejected", None, LINUX)),
        (run_event(), ("stored", None, LINUX)),
    ],
)
async def test_receipt_of_an_event_has_its_part(reports: Reports, event: Any, part: Any) -> None:
    event["data"]["variant"] = LINUX
    await reports.api.store.ingest(event)
    assert await parts(reports) == [part]


async def test_invalid_variant_of_an_event_is_unknown(reports: Reports) -> None:
    event = run_event()
    event["data"]["variant"] = {"os": "a\n"}
    await reports.api.store.ingest(event)
    assert await parts(reports) == [("rejected", None, {})]


async def test_replayed_event_replaces_the_part(reports: Reports) -> None:
    await reports.api.store.ingest(run_event(shard=1, started_at="soon", id="e1"))
    await reports.api.store.ingest(run_event(shard=2, id="e1"))
    assert await parts(reports) == [("stored", 2, {})]
