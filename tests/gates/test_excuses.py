"""Excuses: all conditions, with uploaded reports. A job may pass only if nothing is in doubt."""

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from tests.gates.excusing import BASELINE, FAILING, JOB, Jobs, junit
from tests.report_api import serving_reports_with_ingester


@pytest.fixture
async def jobs(database_url: str, tmp_path: Path) -> AsyncIterator[Jobs]:
    async with serving_reports_with_ingester(database_url, tmp_path) as reports:
        yield Jobs(reports)


async def test_quarantined_failures_are_excused_and_stored_once(jobs: Jobs) -> None:
    await jobs.store_baseline(**JOB)
    quarantine = await jobs.quarantine()
    receipt = await jobs.upload(FAILING, **JOB, final="false")
    status, excuse = await jobs.post([receipt], failures=1)
    (failing,) = (await jobs.api.get("/v1/results", {"run_id": "run_1", "status": "failed"}))["data"]
    assert status == 201
    assert excuse == {
        "id": excuse["id"], "run_id": "run_1", "revision": 1, "part": "unit", "variant": {}, "shard": None,
        "receipts": [receipt], "failures": 1, "allow_missing_cases": False, "baseline_run_id": "main_1",
        "excused": True, "results": [{"id": failing["id"], "quarantine_id": quarantine}], "reasons": [],
        "created_by": excuse["created_by"], "created_by_name": "test", "created_at": excuse["created_at"],
    }  # fmt: skip
    assert await jobs.post([receipt, receipt], failures=1) == (200, excuse)
    other = await jobs.post([receipt])
    assert (other[0], other[1]["id"] != excuse["id"]) == (201, True)
    actions = [row["action"] for row in await jobs.api.store.pool.fetch("SELECT action FROM audit_trail")]
    assert actions.count("POST /v1/runs/run_1/excuses") == 2
    assert (await jobs.api.get("/v1/runs/run_1"))["status"] == "failed"


async def test_concurrent_requests_store_one_excuse(jobs: Jobs) -> None:
    await jobs.store_baseline()
    await jobs.quarantine()
    receipt = await jobs.upload(FAILING)
    found = await asyncio.gather(*(jobs.post([receipt]) for _ in range(10)))
    assert sorted(status for status, _ in found) == [200] * 9 + [201]
    assert await jobs.api.store.pool.fetchval("SELECT count(*) FROM excuses") == 1
