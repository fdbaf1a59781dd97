"""Uploads with a part and an attempt: the parts of the run, the attempts of a result, and the receipts."""

from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from service.receipts.model import describe_missing
from tests.report_api import Reports, serving_reports_with_ingester

FAILED = b'<testsuite name="shop"><testcase name="pays"><failure message="no money"/></testcase></testsuite>'
PASSED = b'<testsuite name="shop"><testcase name="pays"/></testsuite>'
DECLARED = b'<testsuite name="shop" tests="1" failures="1"><testcase name="ships"/></testsuite>'
BROKEN = b"<testsuite><testcase name='a'/>"


@pytest.fixture
async def reports(database_url: str, tmp_path: Path) -> AsyncIterator[Reports]:
    async with serving_reports_with_ingester(database_url, tmp_path) as opened:
        yield opened


def job(part: str, attempt: int, **others: str) -> dict[str, str]:
    return {"part": part, "attempt": str(attempt), **others}


def without_times(attempts: Any) -> list[tuple[Any, ...]]:
    return [(each["attempt"], each["status"], each["job_attempt"]) for each in attempts]


async def test_run_lists_its_parts_with_the_rank_of_the_highest_attempt(reports: Reports) -> None:
    await reports.ingest(FAILED, params=job("test", 812, final="false"))
    await reports.ingest(PASSED, params=job("test", 977))
    await reports.ingest(PASSED, params={"shard": "2", "variant": "os:linux"})
    run = await reports.api.get("/v1/runs/run_1")
    assert run["parts"] == [
        {"part": "test", "variant": {}, "shard": None, "attempt": 2},
        {"part": None, "variant": {"os": "linux"}, "shard": 2, "attempt": None},
    ]
    assert (run["counts"]["flaky"], run["failures_missing"]) == (1, False)
    listed = (await reports.api.get("/v1/results"))["data"]
    [both, single] = [await reports.api.get(f"/v1/results/{each['id']}") for each in sorted(listed, key=pairs_of)]
    assert without_times(both["attempt_details"]) == [(1, "failed", 1), (2, "passed", 2)]
    assert (both["attempts"], both["failure"]["message"]) == (2, "no money")
    assert without_times(single["attempt_details"]) == [(1, "passed", None)]
    assert "parts" not in single["run"]


def pairs_of(result: Any) -> int:
    return len(result["variant"])


async def test_attempt_of_a_single_execution_is_shown(reports: Reports) -> None:
    await reports.ingest(PASSED, params=job("test", 3))
    [listed] = (await reports.api.get("/v1/results"))["data"]
    result = await reports.api.get(f"/v1/results/{listed['id']}")
    assert without_times(result["attempt_details"]) == [(1, "passed", 1)]


async def test_missing_failures_of_one_job_stay_until_its_next_attempt(reports: Reports) -> None:
    await reports.ingest(DECLARED, params=job("a", 1))
    await reports.ingest(PASSED, params=job("b", 1))
    assert (await reports.api.get("/v1/runs/run_1"))["status"] == "error"
    receipt = await reports.ingest(PASSED, params=job("a", 2))
    assert (receipt["part"], receipt["combined"], receipt["replaced"]) == ("a", 1, 0)
    assert (await reports.api.get("/v1/runs/run_1"))["status"] == "passed"


async def test_report_of_another_part_does_not_replace_a_rejected_one(reports: Reports) -> None:
    await reports.ingest(BROKEN, params=job("a", 1))
    await reports.ingest(PASSED, params=job("b", 1))
    receipts = (await reports.api.get("/v1/receipts"))["data"]
    assert "(a): malformed_report" in (describe_missing(receipts) or "")
    await reports.ingest(PASSED, params=job("a", 2))
    assert describe_missing((await reports.api.get("/v1/receipts"))["data"]) is None


@pytest.mark.parametrize("params", [{"attempt": "0"}, {"attempt": "x"}, {"part": ""}, {"part": "a" * 201}])
async def test_invalid_parameters_return_400(reports: Reports, params: dict[str, str]) -> None:
    response = await reports.post(PASSED, params=params)
    assert response.status == 400
    assert (await response.json())["error"]["param"] == next(iter(params))


async def test_deletion_of_a_run_deletes_its_parts(reports: Reports) -> None:
    await reports.ingest(PASSED, params=job("a", 1))
    assert (await reports.api.send("DELETE", "/v1/runs/run_1")).status == 204
    assert await reports.api.store.pool.fetchval("SELECT count(*) FROM run_parts") == 0


async def test_closed_run_stays_complete_although_an_event_expects_shards_later(reports: Reports) -> None:
    await reports.ingest(PASSED)
    revision = (await reports.api.get("/v1/runs/run_1"))["revision"]
    closed = await (await reports.api.send("POST", "/v1/runs/run_1/complete")).json()
    assert (closed["complete"], closed["revision"]) == (True, revision)
    await reports.ingest(PASSED, params={"shard": "1/2"})
    assert (await reports.api.get("/v1/runs/run_1"))["complete"] is True
