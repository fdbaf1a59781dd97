"""The start, the end, and the duration of the run of a report."""

import json
from datetime import datetime
from pathlib import Path
from typing import Any

import pytest

from tests.reports.conversions import convert_all, convert_text
from tests.reports.manifests import CORPUS, OWN

needs_corpus = pytest.mark.skipif(not CORPUS.exists(), reason="the corpus is missing")


@needs_corpus
@pytest.mark.parametrize(
    ("file", "started_at", "completed_at", "duration_ms"),
    [
        ("gen-ctrf-jest-dayjs.json", "2026-11-24T13:58:26.381", "2026-11-24T13:58:35.996", None),
        ("nextest-mikepenz.xml", "2024-12-02T20:06:10.512", "2024-12-02T20:06:11.458", 946),
        ("quick-junit-basic.xml", "2021-04-01T18:52:37", "2021-04-01T18:53:19.235", 42_235),
        # The root has no time, so that the last end of a suite counts.
        ("gojr-106.xml", "2022-01-01T00:00:00", "2022-01-01T00:00:00.001", 1),
        # The root suite has a time, but no time of its start.
        ("gen-gotestsum-go-test-json.xml", "2026-11-24T13:58:24", "2026-11-24T13:58:24.008", 8.86),
        # These have no zone.
        ("gen-pytest-reruns.xml", None, None, 9_871),
        ("gen-jest-dayjs.xml", None, None, 24_505),
        # These have no timestamp.
        ("surefire-shape-circle.xml", None, None, 201),
        ("phpunit-checkstyle.xml", None, None, 41.478),
    ],
)
def test_times_of_real_reports(
    file: str, started_at: str | None, completed_at: str | None, duration_ms: float | None, tmp_path: Path
) -> None:
    summary, _ = convert_all(CORPUS / file, tmp_path)

    assert (_text(summary.times[0].started_at), _text(summary.completed_at)) == (started_at, completed_at)
    assert summary.times[0].duration_ms == duration_ms


def test_run_without_a_zone_has_the_duration_of_its_root_suite(tmp_path: Path) -> None:
    summary, results = convert_all(OWN / "robot-xunit.xml", tmp_path)

    assert (summary.times[0].started_at, summary.completed_at, summary.times[0].duration_ms) == (None, None, 151)
    assert not any("started_at" in result for result in results)


@pytest.mark.parametrize(
    ("suites", "started_at", "completed_at", "duration_ms"),
    [
        (
            "<testsuite timestamp='Wed, 20 May 2026 12:00:00 GMT' time='2'/>"
            "<testsuite timestamp='2026-05-20T11:59:00Z'/>",
            "2026-05-20T11:59:00",
            "2026-05-20T12:00:02",
            62_000,
        ),
        ("<testsuite timestamp='2026-05-20T12:00:00' time='2'/>", None, None, 2_000),
        (
            "<testsuite timestamp='2026-05-20T12:00:00'/><testsuite timestamp='2026-05-20T12:00:05' time='1'/>",
            None,
            None,
            6_000,
        ),
        (
            "<testsuite timestamp='2026-05-20T12:00:00Z' time='1'/>"
            "<testsuite timestamp='2026-05-20T09:00:00' time='1'/>",
            "2026-05-20T12:00:00",
            "2026-05-20T12:00:01",
            1_000,
        ),
        ("<testsuite time='2'/><testsuite time='3'/>", None, None, None),
        ("<testsuite timestamp='1970-01-01T00:00:00Z' time='soon'/>", None, None, None),
        ("<testsuite timestamp='2026-05-20T12:00:00Z'/>", "2026-05-20T12:00:00", None, None),
    ],
    ids=["last end", "no zone", "no zones", "some zones", "no timestamps", "invalid", "no time"],
)
def test_times_of_suites_are_combined(
    suites: str, started_at: str | None, completed_at: str | None, duration_ms: float | None, tmp_path: Path
) -> None:
    summary, _ = convert_text(f"<testsuites>{suites}</testsuites>", tmp_path)

    assert (_text(summary.times[0].started_at), _text(summary.completed_at)) == (started_at, completed_at)
    assert summary.times[0].duration_ms == duration_ms


@pytest.mark.parametrize(
    ("summary", "started_at", "completed_at"),
    [
        ({"start": 1_779_278_400_000, "stop": 1_779_278_400_240}, "2026-05-20T12:00:00", "2026-05-20T12:00:00.240"),
        ({"start": 1_779_278_400_000, "stop": 1_779_278_399_000}, "2026-05-20T12:00:00", None),
        ({"start": 0, "stop": 1_779_278_400_000}, None, "2026-05-20T12:00:00"),
        ({"start": 1_779_278_400, "stop": 1_779_278_401}, "2026-05-20T12:00:00", "2026-05-20T12:00:01"),
        ({"start": "now", "stop": 1e300}, None, None),
    ],
    ids=["ms", "backward", "no start", "seconds", "invalid"],
)
def test_times_of_ctrf(summary: Any, started_at: str | None, completed_at: str | None, tmp_path: Path) -> None:
    converted, _ = convert_text(json.dumps({"results": {"summary": summary, "tests": []}}), tmp_path)

    assert (_text(converted.times[0].started_at), _text(converted.completed_at)) == (started_at, completed_at)


@needs_corpus
def test_invalid_durations_are_unknown_and_noted(tmp_path: Path) -> None:
    summary, results = convert_all(CORPUS / "container-structure-test.xml", tmp_path)

    assert [result.get("duration_ms") for result in results] == [None, 0, 0]
    assert "duration: 2 durations are invalid, such as '1967986371'. They are stored as unknown." in summary.notes


@needs_corpus
def test_case_without_a_time_has_no_duration(tmp_path: Path) -> None:
    _, results = convert_all(CORPUS / "nette-tester.xml", tmp_path)

    assert not any("duration_ms" in result for result in results)


def _text(time: datetime | None) -> str | None:
    return time.isoformat(timespec="milliseconds" if time.microsecond else "seconds")[:-6] if time else None
