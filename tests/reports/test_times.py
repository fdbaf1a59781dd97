"""Parsing of the durations and timestamps that test tools write."""

from datetime import UTC, datetime
from typing import Any

import pytest

from service.domain.timestamps import MAX_DURATION_MS
from service.reports.conversion.times import epoch_ms, milliseconds, timestamp, utc_timestamp, valid_milliseconds


@pytest.mark.parametrize(
    ("written", "expected"),
    [
        ("0.25", 250),
        ("2,503.1", 2_503_100),
        ("1.234,5", 1_234_500),
        ("1.234.567,8", 1_234_567_800),
        ("1.234.567", 1_234_567_000),
        ("1234,567", 1_234_567),
        ("1,000,000", 1_000_000_000),
        ("0,123", 123),
        ("1,25", 1_250),
        ("0.0015", 1.5),
        ("1.7e-05", 1),
        ("0.000001", 1),
        ("1e-12", 1),
        ("0", 0),
        ("0.", 0),
        (" 3 ", 3_000),
        ("-0.000000", 0),
    ],
)
def test_seconds_become_milliseconds_of_at_least_1(written: str, expected: float) -> None:
    assert milliseconds(written) == expected


@pytest.mark.parametrize(
    "written",
    ["-1", "", "soon", "nan", "inf", "999638317", "1" * 10_000, "1,234", "1,23.4", "1.2.3", "12,34,567", "1,2,3"],
    ids=range(12),
)
def test_invalid_seconds_are_unknown(written: str) -> None:
    assert milliseconds(written) is None


@pytest.mark.parametrize(("given", "expected"), [(12, 12), (0.5, 1), (0, 0), (0.0, 0), (1.5, 1.5)])
def test_durations_in_json_are_at_least_1(given: Any, expected: float) -> None:
    assert valid_milliseconds(given) == expected


@pytest.mark.parametrize("given", [-3, True, "12", None, MAX_DURATION_MS + 1, 10**400, float("nan")], ids=range(7))
def test_invalid_durations_in_json_are_unknown(given: Any) -> None:
    assert valid_milliseconds(given) is None


@pytest.mark.parametrize(
    "written",
    [
        "2026-05-20T12:00:00Z",
        "2026-05-20T14:00:00+02:00",
        "2026-05-20T12:00:00.000000+00:00",
        "2026-05-20 12:00:00Z",
        "Wed, 20 May 2026 12:00:00 GMT",
        "Wed, 20 May 2026 08:00:00 -0400",
    ],
)
def test_timestamps_of_every_format_are_parsed(written: str) -> None:
    assert timestamp(written) == utc_timestamp(written) == datetime(2026, 5, 20, 12, tzinfo=UTC)


@pytest.mark.parametrize(
    "written", ["2026-05-20T12:00:00", "2026-05-20 12:00:00.000000", "Wed, 20 May 2026 12:00:00 -0000"]
)
def test_timestamp_without_a_zone_has_none(written: str) -> None:
    assert timestamp(written) == datetime(2026, 5, 20, 12)  # noqa: DTZ001 - the zone is unknown
    assert utc_timestamp(written) is None


@pytest.mark.parametrize(
    "written", [None, "", "yesterday", "0001-01-01T00:00:00", "1970-01-01T00:00:00Z", "9999-12-31T23:59-12:00"]
)
def test_invalid_timestamp_is_none(written: str | None) -> None:
    assert timestamp(written) is None


def test_milliseconds_since_1970_are_parsed() -> None:
    assert epoch_ms(1_779_278_400_000) == datetime(2026, 5, 20, 12, tzinfo=UTC)


def test_seconds_since_1970_are_parsed() -> None:
    assert epoch_ms(1_779_278_400) == datetime(2026, 5, 20, 12, tzinfo=UTC)


@pytest.mark.parametrize("given", [0, -1, 10**400, float("inf"), float("nan"), True, "1779278400000", None])
def test_invalid_milliseconds_since_1970_are_none(given: Any) -> None:
    assert epoch_ms(given) is None
