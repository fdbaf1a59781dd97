"""Tests of events with a dataref: it can refer only to objects in the storage of the service."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any
from uuid import uuid4

import orjson
import pytest
import pytest_asyncio

from service.ingest.ingest_runs import RunIngest
from service.ingest.store_batch import BatchStore
from service.reports.ingest_reports import ReportIngester
from service.settings import Settings
from tests.report_api import Reports, new_ingester, running_ingester, serving_reports
from tests.run_events import result, run_event
from tests.stored import RETENTION
from tests.storing import read, write

RUN = {"run_id": "run_1", "project_id": "shop", "environment": "staging"}
RESULTS = [result(f"case {number}") for number in range(2_500)]


@asynccontextmanager
async def serving_with_a_storage(database_url: str, folder: Path) -> AsyncIterator[Reports]:
    async with serving_reports(database_url, folder) as opened:
        storage_url = (folder / "files").as_uri()
        opened.api.store.run_ingest = RunIngest(BatchStore(opened.api.store.pool, RETENTION, storage_url=storage_url))
        yield opened


@pytest.fixture
async def reports(database_url: str, tmp_path: Path) -> AsyncIterator[Reports]:
    async with serving_with_a_storage(database_url, tmp_path) as opened:
        yield opened


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def refusing(shared_database_url: str, tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Reports]:
    """An ingest for the tests that send only invalid references."""
    async with serving_with_a_storage(shared_database_url, tmp_path_factory.mktemp("storage")) as opened:
        yield opened


@pytest.fixture
def ingester(reports: Reports, tmp_path: Path) -> ReportIngester:
    return new_ingester(Settings(artifacts_url=(tmp_path / "files").as_uri()), reports.api.store.pool)


def event_with_dataref(dataref: str, **attributes: Any) -> dict[str, Any]:
    event = run_event(id=uuid4().hex, time="2026-05-20T12:00:00Z")
    del event["data"]
    return {**event, "dataref": dataref, **attributes}


def as_json() -> bytes:
    return orjson.dumps({"organization": "acme", "run": RUN, "results": RESULTS})


def as_ndjson() -> bytes:
    return b"\n".join(map(orjson.dumps, [{"organization": "acme", "run": RUN}, *RESULTS]))


@pytest.mark.parametrize("data", [as_json(), as_ndjson()], ids=["json", "ndjson"])
async def test_referenced_results_are_stored_with_the_time_of_the_event(
    reports: Reports, ingester: ReportIngester, tmp_path: Path, data: bytes
) -> None:
    await write(reports.storage, "inbox/1/run_1", data)
    event = event_with_dataref((tmp_path / "files" / "inbox/1/run_1").as_uri())
    outcomes = [*await reports.api.store.ingest(event), *await reports.api.store.ingest(event)]
    assert [outcome.status for outcome in outcomes] == ["stored", "duplicate"]

    async with running_ingester(reports, ingester):
        [receipt] = (await reports.api.get("/v1/receipts", {"event_id": event["id"]}))["data"]
        receipt = await reports.wait_until_finished(receipt)
    assert (receipt["status"], receipt["results"], receipt["run_id"]) == ("stored", 2_500, "run_1")
    run = await reports.api.get("/v1/runs/run_1")
    assert (run["completed_at"], run["environment"]) == ("2026-05-20T12:00:00.000Z", "staging")
    assert await read(reports.storage, "inbox/1/run_1") == data


@pytest.mark.parametrize(
    "dataref",
    [
        "https://example.org/data.json", "http://169.254.169.254/latest", "file:///etc/passwd", "/etc/passwd",
        "exports/1/a.csv", "inbox/../exports/1/a", "inbox/1/../2/a", "inbox/01/a", "inbox/x/a", "inbox/1/", "inbox",
    ],
)  # fmt: skip
async def test_any_other_dataref_is_rejected(refusing: Reports, dataref: str) -> None:
    [outcome] = await refusing.api.store.ingest(event_with_dataref(dataref))
    assert (outcome.status, outcome.reason) == ("rejected", "invalid")
    assert "dataref" in (outcome.message or "")


async def test_dataref_of_an_unknown_organization_is_rejected_without_affecting_the_batch(reports: Reports) -> None:
    outcomes = await reports.api.store.ingest(event_with_dataref("inbox/77/a"), run_event("run_2"))
    assert [outcome.reason for outcome in outcomes] == ["unknown_organization", None]
    assert await reports.api.store.run("run_2") is not None


async def test_missing_object_rejects_the_event(reports: Reports, ingester: ReportIngester) -> None:
    await reports.api.store.ingest(event := event_with_dataref("inbox/1/nothing"))
    async with running_ingester(reports, ingester):
        [receipt] = (await reports.api.get("/v1/receipts", {"event_id": event["id"]}))["data"]
        receipt = await reports.wait_until_finished(receipt)
    assert receipt["problems"][0]["reason"] == "invalid: the file was not found in storage"


async def test_other_dataref_with_the_same_event_id_is_rejected(reports: Reports) -> None:
    event = event_with_dataref("inbox/1/a")
    await reports.api.store.ingest(event)
    [outcome] = await reports.api.store.ingest({**event, "dataref": "inbox/1/b"})
    assert outcome.reason == "event_id_reused"


async def test_event_with_dataref_is_validated_like_other_events(reports: Reports) -> None:
    [outcome] = await reports.api.store.ingest(event_with_dataref("inbox/1/a", specversion="0.3"))
    assert (outcome.reason, (outcome.message or "")[:11]) == ("invalid", "specversion")


async def test_event_with_a_dataref_and_a_time_far_in_the_future_is_rejected(reports: Reports, tmp_path: Path) -> None:
    event = event_with_dataref((tmp_path / "files" / "inbox/1/run_1").as_uri(), time="2099-01-01T00:00:00Z")
    [outcome] = await reports.api.store.ingest(event)
    assert (outcome.status, outcome.reason) == ("rejected", "completed_at_out_of_range")
    assert "time: must be at most 24 h in the future" in (outcome.message or "")
