"""Receipts state the pipeline of an event or report, and the list of receipts filters by it."""

from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from tests.report_api import PASSING, Reports, serving_reports_with_ingester
from tests.run_events import run_event
from tests.served import Api

PIPELINE = "github-812"


@pytest.fixture
async def reports(database_url: str, tmp_path: Path) -> AsyncIterator[Reports]:
    async with serving_reports_with_ingester(database_url, tmp_path) as opened:
        yield opened


async def runs_of_pipeline(api: Api, key: str | None = None) -> list[tuple[str, str]]:
    """Return the run and the status of each receipt of the pipeline, newest first."""
    receipts = await api.get("/v1/receipts", {"pipeline": PIPELINE}, key)
    assert {receipt["pipeline"] for receipt in receipts["data"]} <= {PIPELINE}
    return [(receipt["run_id"], receipt["status"]) for receipt in receipts["data"]]


async def test_uploads_are_filtered_by_their_pipeline(reports: Reports) -> None:
    queued = await reports.send(PASSING, "run_1", {"pipeline": PIPELINE})
    assert queued["pipeline"] == (await reports.wait_until_finished(queued))["pipeline"] == PIPELINE
    await reports.ingest(b"<testsuite>", "run_2", {"pipeline": PIPELINE})
    await reports.ingest(PASSING, "run_3", {"pipeline": "github-8"})
    assert (await reports.ingest(PASSING, "run_4"))["pipeline"] is None
    assert await runs_of_pipeline(reports.api) == [("run_2", "rejected"), ("run_1", "stored")]
    for run_id, found in {"run_1": [queued["id"]], "run_3": []}.items():
        page = await reports.api.get("/v1/receipts", {"pipeline": PIPELINE, "run_id": run_id})
        assert [receipt["id"] for receipt in page["data"]] == found
    listed = await reports.api.list_all("/v1/receipts", {"pipeline": PIPELINE, "limit": "1"})
    assert [receipt["run_id"] for receipt in listed] == ["run_2", "run_1"]


@pytest.mark.parametrize(
    ("results", "status"), [(b'[{"name": "pays", "status": "passed"}]}', "stored"), (b'[{"name": "pa', "rejected")]
)
async def test_report_can_state_its_pipeline_itself(reports: Reports, results: bytes, status: str) -> None:
    await reports.ingest(b'{"run": {"pipeline": "github-812"}, "results": ' + results)
    assert await runs_of_pipeline(reports.api) == [("run_1", status)]


async def test_repeated_upload_adds_the_pipeline_that_an_earlier_version_did_not_store(reports: Reports) -> None:
    await reports.ingest(b"<testsuite>", params={"pipeline": PIPELINE})
    await reports.api.store.pool.execute("UPDATE receipts SET pipeline = NULL")
    await reports.send(b"<testsuite>", params={"pipeline": PIPELINE})
    assert [run_id for run_id, _ in await runs_of_pipeline(reports.api)] == ["run_1"]


@pytest.mark.parametrize(
    ("fields", "status"),
    [
        ({}, "stored"), ({"started_at": "soon"}, "rejected"), ({"completed_at": "1999-01-01T00:00:00Z"}, "rejected"),
        ({"results": [{"name": 7}]}, "rejected"),
    ],
)  # fmt: skip
async def test_receipt_of_an_event_has_its_pipeline(api: Api, fields: Any, status: str) -> None:
    await api.store.ingest(run_event(pipeline=PIPELINE, **fields))
    assert await runs_of_pipeline(api) == [("run_1", status)]


async def test_replayed_event_replaces_the_pipeline(api: Api) -> None:
    await api.store.ingest(run_event(pipeline="github-8", started_at="soon", id="e1"))
    await api.store.ingest(run_event(pipeline=PIPELINE, id="e1"))
    assert await runs_of_pipeline(api) == [("run_1", "stored")]


async def test_list_contains_only_receipts_that_the_key_can_read(api: Api) -> None:
    for run_id, project in {"run_1": "shop", "run_2": "web"}.items():
        await api.store.ingest(run_event(run_id, project_id=project, pipeline=PIPELINE))
    of_web, of_api = [(await api.make_key("uploader", project_id=project)).key for project in ("web", "api")]
    _, of_other = await api.make_organization("other")
    found = [await runs_of_pipeline(api, key) for key in (api.key, of_web, of_api, of_other)]
    assert found == [[("run_2", "stored"), ("run_1", "stored")], [("run_2", "stored")], [], []]


async def test_malformed_pipeline_is_an_error(api: Api) -> None:
    assert (await api.error("/v1/receipts", 400, {"pipeline": ""}))["param"] == "pipeline"
