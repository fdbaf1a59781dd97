"""The times of the run of an uploaded report."""

import json
import re
from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from tests.report_api import Reports, serving_reports_with_ingester
from tests.reports.archive_files import pack_zip
from tests.reports.manifests import OWN

UNIT, E2E = ((OWN / "pytest" / name).read_bytes() for name in ("json-report.xml", "xunit1.xml"))  # 102 and 167 ms
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


async def test_duration_leaves_out_the_pause_between_two_uploads_of_one_part(reports: Reports) -> None:
    await _ingest(reports, _at(UNIT, _YESTERDAY))
    await _ingest(reports, _at(E2E, _YESTERDAY + timedelta(seconds=484)))
    run = await _ingest(reports, _at(UNIT, _YESTERDAY))

    assert run["duration_ms"] == 102 + 167
    assert _time(run["started_at"]) == _YESTERDAY
    assert _time(run["last_completed_at"]) == _YESTERDAY + timedelta(seconds=484, milliseconds=167)


@pytest.mark.parametrize(
    ("zones", "minutes", "duration_ms"),
    [
        (("+00:00", "+00:00"), 35, 102 + 167),
        (("+00:00", "+00:00"), 0, 167),
        (("", ""), 35, 102 + 167),
        (("", ""), 0, 167),
        (("+00:00", ""), 35, 167),
        ((None, None), 35, 102 + 167),
        (("+00:00", None), 35, 167),
    ],
    ids=[
        "a pause", "parallel", "a pause without a zone", "parallel without a zone", "one without a zone",
        "without times", "one without times",
    ],
)  # fmt: skip
async def test_duration_of_several_reports_is_the_time_in_which_one_was_executed(
    zones: tuple[str | None, ...], minutes: int, duration_ms: int, reports: Reports
) -> None:
    later = _YESTERDAY + timedelta(minutes=minutes)
    files = {"e2e.xml": _at(E2E, later, zones[1]), "unit.xml": _at(UNIT, _YESTERDAY, zones[0])}

    run = await _ingest(reports, pack_zip(files))

    assert run["duration_ms"] == duration_ms


async def test_report_without_a_start_and_a_duration_adds_nothing(reports: Reports) -> None:
    run = await _ingest(
        reports, pack_zip({"unit.xml": _at(UNIT, _YESTERDAY), "ava.tap": b"TAP version 13\n1..1\nok 1 - a\n"})
    )

    assert (_time(run["started_at"]), run["duration_ms"]) == (_YESTERDAY, 102)


async def test_duration_is_unknown_if_no_report_states_one(reports: Reports) -> None:
    run = await _ingest(reports, "TAP version 13\n1..1\nok 1 - a\n")

    assert (run["started_at"], run["duration_ms"]) == (None, None)


async def _ingest(reports: Reports, body: Any, params: Any = ()) -> Any:
    receipt = await reports.ingest(body, params=params)
    assert receipt["status"] == "stored", receipt
    return await reports.api.get("/v1/runs/run_1")


def _at(report: bytes, start: datetime, zone: str | None = "+00:00") -> bytes:
    """Return a report of pytest with another start, whose zone can be missing, or without its start."""
    timestamp = b"" if zone is None else f'timestamp="{start:%Y-%m-%dT%H:%M:%S}{zone}"'.encode()
    return re.sub(rb'timestamp="[^"]*"', timestamp, report)


def _ctrf(start: datetime, stop: datetime) -> str:
    summary = {"start": start.timestamp() * 1_000, "stop": stop.timestamp() * 1_000}
    return json.dumps({"results": {"summary": summary, "tests": [{"name": "c", "status": "passed"}]}})


def _time(text: str) -> datetime:
    return datetime.fromisoformat(text)
