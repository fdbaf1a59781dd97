"""Assignments in uploads: their validation, their trust, and the keys that can send them."""

import gzip
import json
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from service.splits.model import MAX_SPLIT_BYTES
from tests.forks import RUN as FORK_RUN
from tests.forks import Fork, promote_completely, serving_fork
from tests.report_api import Reports, serving_reports_with_ingester
from tests.splits.test_missing_items import (
    FILES,
    PIPELINE,
    RUN,
    assignment,
    execute,
    form_of,
    missing,
    put_plan,
    report_of,
)


@pytest.fixture
async def reports(database_url: str, tmp_path: Path) -> AsyncIterator[Reports]:
    async with serving_reports_with_ingester(database_url, tmp_path) as opened:
        yield opened


@pytest.fixture
async def fork(database_url: str, tmp_path: Path) -> AsyncIterator[Fork]:
    async with serving_fork(database_url, tmp_path) as opened:
        yield opened


async def refuse(reports: Reports, *assignments: Any, status: int = 400, report: str | None = "<testsuite/>") -> Any:
    response = await reports.post(form_of(report, *assignments), RUN)
    body = await response.json()
    assert response.status == status, body
    assert await reports.api.list_all("/v1/receipts") == []
    return body["error"]


@pytest.mark.parametrize(
    ("stated", "message"),
    [
        (b"{", "split: Invalid JSON"),
        (b"[]", "split: must be an object"),
        (assignment([], format=2), "split.format: must be 1"),
        (assignment(FILES, total=1, index=2), "split: index: must be at most total"),
        (assignment(["a.py", "a.py"]), "split.items: must not contain an item twice: 'a.py'"),
        (assignment([""]), "split.items.0: must not be empty"),
        (assignment([], other=1), "split.other: is not supported"),
        (assignment([], project_id="other"), "split.project_id: must be that of the upload, 'shop'"),
        (gzip.compress(b"{}", mtime=0)[:-4], "split: 0.json must be one complete gzip file"),
        (gzip.compress(b"{}", mtime=0) * 2, "split: 0.json must be one complete gzip file"),
        (b"\x1f\x8bnot gzip", "split: 0.json must be one complete gzip file"),
    ],
)
async def test_malformed_assignment_is_refused_with_its_field(reports: Reports, stated: Any, message: str) -> None:
    error = await refuse(reports, stated)
    assert error["message"].startswith(message)
    assert error["param"].startswith("split")


@pytest.mark.parametrize("compress", [bytes, gzip.compress])
async def test_size_is_limited_without_compression(reports: Reports, compress: Any) -> None:
    padding = b" " * (MAX_SPLIT_BYTES - len(json.dumps(assignment(FILES))))
    largest = json.dumps(assignment(FILES)).encode() + padding
    error = await refuse(reports, compress(largest + b" "), status=413)
    assert error["message"] == f"split: 0.json must have at most {MAX_SPLIT_BYTES} bytes without compression"
    receipt = await reports.ingest(form_of(report_of(FILES), compress(largest)), RUN, {"pipeline": PIPELINE})
    assert (receipt["status"], await missing(reports)) == ("stored", [])


async def test_number_of_assignments_is_limited(reports: Reports) -> None:
    stated = [assignment(FILES, key=f"key {number}") for number in range(21)]
    assert (await refuse(reports, *stated))["message"] == "split: must occur at most 20 times"
    await reports.ingest(form_of(report_of(FILES), *stated[:20]), RUN, {"pipeline": PIPELINE})
    assert len((await reports.api.get(f"/v1/runs/{RUN}/splits"))["data"]) == 20


async def test_form_with_only_an_assignment_is_refused(reports: Reports) -> None:
    assert (await refuse(reports, assignment(FILES), report=None))["message"] == "form: must contain a report"


async def test_repeated_request_with_another_assignment_is_refused(reports: Reports) -> None:
    report = report_of(FILES)
    for items, status in ((FILES, 202), (FILES, 202), (FILES[:1], 422)):
        response = await reports.post(form_of(report, assignment(items)), RUN, Idempotency_Key="1")
        assert response.status == status


async def test_fork_that_states_another_pipeline_counts_only_for_its_own_run(fork: Fork) -> None:
    first, second = await put_plan(fork.reports)
    await execute(fork.reports, first)
    lies = assignment(second, 2, all_items=["invented.py"])
    await fork.upload(body=form_of(report_of(second), lies), pipeline=PIPELINE)
    assert await missing(fork.reports) == [(item, "no_upload") for item in second]
    of_fork = (await fork.reports.api.get(f"/v1/runs/{FORK_RUN}/comparison"))["missing_items_sample"]
    assert [item["item"] for item in of_fork] == ["invented.py"]


async def test_promoted_run_has_only_assignments_of_promoted_uploads(fork: Fork) -> None:
    stated: dict[str, Any] = {"pipeline": "github-7", "all_items": FILES, "total": 2}
    receipt = await fork.upload(body=form_of(report_of(["a.py"]), assignment(["a.py"], **stated)))
    await fork.upload(body=form_of(report_of(["b.py"]), assignment(FILES, 2, **stated)))  # of a stranger
    assert await missing(fork.reports, FORK_RUN) == []
    await promote_completely(fork.reports, [receipt])
    assert await missing(fork.reports, FORK_RUN) == [(item, "no_upload") for item in FILES[1:]]


async def test_equal_report_of_a_stranger_does_not_replace_the_assignment_of_a_fork(fork: Fork) -> None:
    report = report_of(["a.py"])
    stranger = await fork.upload(body=form_of(report, assignment([], pipeline=None)))
    receipt = await fork.upload(body=form_of(report, assignment(["a.py"], pipeline=None)))
    assert stranger["id"] != receipt["id"]


async def test_assignments_count_for_the_limits_of_untrusted_uploads(fork: Fork) -> None:
    stated = [assignment([], key=str(number)) for number in range(9)]  # 9 files per day are allowed
    response = await fork.reports.post(form_of(report_of(["a.py"]), *stated), FORK_RUN, key=fork.key)
    assert response.status == 429


async def test_results_of_forks_and_of_other_projects_do_not_replace_lost_ones(fork: Fork) -> None:
    await fork.reports.ingest(report_of(FILES), "github-0:shop", {"branch": "main"})
    await put_plan(fork.reports, 1)
    await execute(fork.reports, FILES, files=["a.py"])
    await fork.upload(body=report_of(FILES), pipeline=PIPELINE)
    native = {
        "run": {"pipeline": PIPELINE},
        "results": [{"name": "one", "file": item, "status": "passed"} for item in FILES],
    }
    params = {"project_id": "other"}
    response = await fork.reports.api.send("POST", "/v1/runs/other/report", params, json=native)
    assert response.status == 202
    receipt = await fork.reports.wait_until_finished(await response.json())
    assert (await fork.reports.api.get("/v1/runs/other"))["pipeline"] == PIPELINE, receipt
    assert await missing(fork.reports) == [(item, "no_results") for item in FILES[1:]]
