"""Uploads that state when their run is complete, and reports that declare failures they don't contain."""

from collections.abc import AsyncIterator
from pathlib import Path

import orjson
import pytest

from tests.report_api import PASSING, Reports, serving_reports_with_ingester

MISSING = b'<testsuite name="shop" tests="2" failures="1"><testcase name="pays"/><testcase name="ships"/></testsuite>'
FAILED = b'<testsuite name="shop" tests="1" failures="1"><testcase name="pays"><failure/></testcase></testsuite>'


@pytest.fixture
async def reports(database_url: str, tmp_path: Path) -> AsyncIterator[Reports]:
    async with serving_reports_with_ingester(database_url, tmp_path) as opened:
        yield opened


async def test_upload_that_is_not_final_leaves_the_run_open(reports: Reports) -> None:
    await reports.ingest(PASSING, params={"final": "false"})
    assert (await reports.api.get("/v1/runs/run_1"))["complete"] is False
    await reports.ingest(FAILED, params={"final": "true"})
    assert (await reports.api.get("/v1/runs/run_1"))["complete"] is True


async def test_final_and_shard_can_not_be_combined(reports: Reports) -> None:
    response = await reports.post(PASSING, params={"final": "true", "shard": "1/2"})
    assert response.status == 400
    assert (await response.json())["error"]["param"] == "final"


async def test_parameters_replace_the_expectation_of_the_report(reports: Reports) -> None:
    native = orjson.dumps({"run": {"expected_results": 9}, "results": [{"name": "a", "status": "passed"}]})
    await reports.ingest(native, params={"final": "true"})
    run = await reports.api.get("/v1/runs/run_1")
    assert (run["complete"], run["expected_results"]) == (True, None)


async def test_report_with_conflicting_expectations_is_rejected(reports: Reports) -> None:
    run = {"expected_results": 9, "final": True}
    receipt = await reports.ingest(orjson.dumps({"run": run, "results": [{"name": "a", "status": "passed"}]}))
    assert receipt["status"] == "rejected"
    assert "run.final: must not be combined with expected_results" in receipt["problems"][0]["reason"]


async def test_upload_without_notifications_has_no_events(reports: Reports) -> None:
    await reports.ingest(PASSING, params={"notify": "false"})
    assert (await reports.api.get("/v1/runs/run_1"))["complete"] is True
    assert (await reports.api.get("/v1/events"))["data"] == []


async def test_declared_failure_that_the_report_does_not_contain_makes_the_run_an_error(reports: Reports) -> None:
    await reports.ingest(MISSING)
    run = await reports.api.get("/v1/runs/run_1")
    assert (run["status"], run["failures_missing"], run["counts"]["passed"]) == ("error", True, 2)
    await reports.api.store.pool.execute("UPDATE runs SET shard_versions = jsonb_set(shard_versions, '{0,0}', '0')")
    await reports.ingest(FAILED)
    run = await reports.api.get("/v1/runs/run_1")
    assert (run["failures_missing"], run["counts"]["failed"]) == (False, 1)


async def test_native_report_with_a_failing_status_and_no_failure_is_an_error(reports: Reports) -> None:
    native = orjson.dumps({"run": {"status": "failed"}, "results": [{"name": "a", "status": "passed"}]})
    await reports.ingest(native)
    run = await reports.api.get("/v1/runs/run_1")
    assert (run["status"], run["failures_missing"]) == ("error", True)


@pytest.mark.parametrize(
    "report", [b"<testsuites/>", b'{"results": []}', b'{"results": {"tool": {"name": "jest"}, "tests": []}}'],
    ids=["junit", "native", "ctrf"],
)  # fmt: skip
async def test_run_without_results_is_an_error(reports: Reports, report: bytes) -> None:
    receipt = await reports.ingest(report)
    assert receipt["status"] == "stored"
    assert receipt["problems"][-1]["reason"].startswith("results: the upload contains none.")
    assert (await reports.api.get("/v1/runs/run_1"))["status"] == "error"
    await reports.ingest(PASSING)
    assert (await reports.api.get("/v1/runs/run_1"))["status"] == "passed"


async def test_upload_can_state_that_a_run_without_results_passed(reports: Reports) -> None:
    receipt = await reports.ingest(b"<testsuites/>", params={"allow_empty": "true"})
    assert (receipt["status"], receipt["problems"]) == ("stored", [])
    assert (await reports.api.get("/v1/runs/run_1"))["status"] == "passed"
    await reports.ingest(FAILED, "run_2", params={"allow_empty": "true"})
    assert (await reports.api.get("/v1/runs/run_2"))["status"] == "failed"


async def test_run_without_results_is_an_error_as_soon_as_it_is_completed(reports: Reports) -> None:
    await reports.ingest(b"<testsuites/>", params={"final": "false"})
    run = await reports.api.get("/v1/runs/run_1")
    assert (run["complete"], run["status"]) == (False, "passed")
    completed = await (await reports.api.send("POST", "/v1/runs/run_1/complete")).json()
    assert (completed["complete"], completed["status"]) == (True, "error")
    listed = (await reports.api.get("/v1/runs", {"status": "error"}))["data"]
    assert [run["run_id"] for run in listed] == ["run_1"]
    events = await reports.api.store.pool.fetch("SELECT type, data->>'status' FROM events ORDER BY created_at, type")
    assert [*map(tuple, events)] == [("run.updated", "passed"), ("run.completed", "error"), ("run.failed", "error")]
    decision = await (
        await reports.api.send("POST", "/v1/runs/run_1/decisions", json={"policy": {"max_failures": 0}})
    ).json()
    assert [rule["rule"] for rule in decision["rules"] if not rule["passed"]] == ["min_results"]


async def test_shard_without_results_does_not_change_the_status(reports: Reports) -> None:
    await reports.ingest(b"<testsuites/>", params={"shard": "1/2"})
    assert (await reports.api.get("/v1/runs/run_1"))["status"] == "passed"  # so far; the other shard is missing
    await reports.ingest(PASSING, params={"shard": "2/2"})
    assert (await reports.api.get("/v1/runs/run_1"))["status"] == "passed"


async def test_base_branch_and_pull_request_are_stored(reports: Reports) -> None:
    await reports.ingest(PASSING, params={"base_branch": "main", "pull_request": "17"})
    run = await reports.api.get("/v1/runs/run_1")
    assert (run["base_branch"], run["pull_request"]) == ("main", "17")


async def test_rejected_failure_of_a_report_is_missing(reports: Reports) -> None:
    results = [{"name": "a", "status": "passed"}, {"name": "b", "status": "failed", "duration_ms": -1}]
    receipt = await reports.ingest(orjson.dumps({"results": results}))
    assert (receipt["status"], receipt["results"]) == ("partial", 1)
    run = await reports.api.get("/v1/runs/run_1")
    assert (run["status"], run["failures_missing"]) == ("error", True)
