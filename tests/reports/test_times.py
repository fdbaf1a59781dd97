"""Parsing of the durations and timestamps that test tools write."""

import time
from datetime import UTC, datetime
from typing import Any

import pytest

from service.domain.results import MAX_DURATION_MS
from service.reports.times import epoch_ms, milliseconds, timestamp, valid_milliseconds


@pytest.mark.parametrize(
    ("written", "expected"),
    [
        ("0.25", 250),
        ("2,503.1", 2_503_100),
        ("1,000,000", 1_000_000_000),
        ("0,123", 123),
        ("1,25", 1_250),
        ("1.7e-05", 0.017),
        ("0.", 0),
        (" 3 ", 3_000),
        ("-1", 0),
        ("-0.000000", 0),
        ("", 0),
        (None, 0),
        ("soon", 0),
        ("nan", 0),
        ("inf", 0),
        ("999638317", 0),
        ("1" * 10_000, 0),
    ],
)
def test_seconds_become_milliseconds(written: str | None, expected: float) -> None:
    assert milliseconds(written) == expected


@pytest.mark.parametrize(
    ("given", "expected"),
    [(12, 12), (0.5, 0.5), (-3, 0), (True, 0), ("12", 0), (None, 0), (MAX_DURATION_MS + 1, 0), (10**400, 0)],
)
def test_invalid_durations_in_json_become_zero(given: Any, expected: float) -> None:
    assert valid_milliseconds(given) == expected


@pytest.mark.parametrize(
    "written",
    [
        "2026-05-20T12:00:00Z",
        "2026-05-20T12:00:00",
        "2026-05-20T14:00:00+02:00",
        "2026-05-20T12:00:00.000000",
        "2026-05-20 12:00:00",
        "Wed, 20 May 2026 12:00:00 GMT",
        "Wed, 20 May 2026 08:00:00 -0400",
    ],
)
def test_timestamps_of_every_format_are_parsed(written: str) -> None:
    assert timestamp(written) == datetime(2026, 5, 20, 12, tzinfo=UTC)


def test_timestamp_without_a_zone_is_utc_in_every_local_zone(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TZ", "Asia/Tokyo")
    time.tzset()
    try:
        assert timestamp("2026-05-20T12:00:00") == datetime(2026, 5, 20, 12, tzinfo=UTC)
    finally:
        monkeypatch.undo()
        time.tzset()


def test_date_without_a_time_is_midnight() -> None:
    assert timestamp("2026-05-20") == datetime(2026, 5, 20, tzinfo=UTC)


@pytest.mark.parametrize(
    "written", [None, "", "yesterday", "0001-01-01T00:00:00", "1970-01-01T00:00:00Z", "9999-12-31T23:59-12:00"]
)
def test_invalid_timestamp_is_none(written: str | None) -> None:
    assert timestamp(written) is None


def test_milliseconds_since_1970_are_parsed() -> None:
    assert epoch_ms(1_779_278_400_000) == datetime(2026, 5, 20, 12, tzinfo=UTC)


@pytest.mark.parametrize("given", [0, -1, 10**400, float("inf"), float("nan"), True, "1779278400000", None])
def test_invalid_milliseconds_since_1970_are_none(given: Any) -> None:
    assert epoch_ms(given) is None
