"""The times of the run of an uploaded report."""

import json
from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from tests.report_api import Reports, serving_reports_with_ingester
from tests.reports.manifests import OWN

_YESTERDAY = datetime.now(UTC).replace(microsecond=0) - timedelta(days=1)


@pytest.fixture
async def reports(database_url: str, tmp_path: Path) -> AsyncIterator[Reports]:
    async with serving_reports_with_ingester(database_url, tmp_path) as opened:
        yield opened


async def test_run_has_the_times_that_ctrf_states(reports: Reports) -> None:
    run = await _ingest(reports, _ctrf(_YESTERDAY, _YESTERDAY + timedelta(seconds=9)))

    assert _time(run["started_at"]) == _YESTERDAY
    assert (_time(run["completed_at"]), run["duration_ms"]) == (_YESTERDAY + timedelta(seconds=9), 9_000)


async def test_run_ends_after_the_time_of_its_root_suite(reports: Reports) -> None:
    run = await _ingest(reports, f"<testsuites timestamp='{_YESTERDAY.isoformat()}' time='1.5'/>")

    assert _time(run["started_at"]) == _YESTERDAY
    assert run["duration_ms"] == 1_500


async def test_time_without_a_zone_counts_only_for_the_duration(reports: Reports) -> None:
    sent_at = datetime.now(UTC)

    run = await _ingest(reports, (OWN / "robot-xunit.xml").read_bytes())

    assert run["duration_ms"] == 151
    assert _time(run["completed_at"]) >= sent_at.replace(microsecond=0)


@pytest.mark.parametrize("days", [-20 * 365, 3], ids=["before the retention", "in the future"])
async def test_time_that_does_not_fit_is_unknown(days: int, reports: Reports) -> None:
    sent_at = datetime.now(UTC)
    time = sent_at + timedelta(days=days)

    run = await _ingest(reports, _ctrf(time, time + timedelta(seconds=9)))

    assert _time(run["completed_at"]) >= sent_at.replace(microsecond=0)
    assert run["started_at"] is None


async def test_time_of_the_request_overrides_the_one_of_the_report(reports: Reports) -> None:
    stated = _YESTERDAY + timedelta(hours=1)
    report = _ctrf(_YESTERDAY, _YESTERDAY + timedelta(seconds=9))

    run = await _ingest(reports, report, {"completed_at": stated.isoformat().replace("+00:00", "Z")})

    assert (_time(run["started_at"]), _time(run["completed_at"])) == (_YESTERDAY, stated)


async def test_run_of_several_days_has_its_start(reports: Reports) -> None:
    run = await _ingest(reports, _ctrf(_YESTERDAY - timedelta(days=2), _YESTERDAY))

    assert run["duration_ms"] == timedelta(days=2).total_seconds() * 1_000


async def _ingest(reports: Reports, body: Any, params: Any = ()) -> Any:
    receipt = await reports.ingest(body, params=params)
    assert receipt["status"] == "stored", receipt
    return await reports.api.get("/v1/runs/run_1")


def _ctrf(start: datetime, stop: datetime) -> str:
    summary = {"start": start.timestamp() * 1_000, "stop": stop.timestamp() * 1_000}
    return json.dumps({"results": {"summary": summary, "tests": [{"name": "c", "status": "passed"}]}})


def _time(text: str) -> datetime:
    return datetime.fromisoformat(text)
