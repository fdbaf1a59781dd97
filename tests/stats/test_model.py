"""The buckets and the range of statistics about runs, at their boundaries."""

from datetime import UTC, datetime

import pytest

from service.domain.errors import InvalidRequest
from service.domain.timestamps import from_ms, parse_timestamp, to_ms
from service.stats.model import LENGTHS_MS, Interval, bucket_start, choose_range

NOW = "2026-05-20T12:30:00Z"  # a Wednesday
EARLIEST, LATEST = "0001-01-01T00:00:00Z", "9999-12-31T23:59:59Z"


def ms(text: str) -> int:
    return to_ms(parse_timestamp(text))


def optional_ms(text: str | None) -> int | None:
    return None if text is None else ms(text)


def text(time_ms: int) -> str:
    return from_ms(time_ms).strftime("%Y-%m-%dT%H:%M:%S")


@pytest.mark.parametrize(
    ("time", "interval", "start"),
    [
        ("2026-05-20T12:59:59.999Z", "hour", "2026-05-20T12:00:00"),
        ("2026-05-20T13:00:00Z", "hour", "2026-05-20T13:00:00"),
        ("2026-05-20T23:59:59.999Z", "day", "2026-05-20T00:00:00"),
        ("2026-05-17T23:59:59.999Z", "week", "2026-05-11T00:00:00"),  # a Sunday
        ("2026-05-18T00:00:00Z", "week", "2026-05-18T00:00:00"),
        ("2026-03-29T01:30:00Z", "day", "2026-03-29T00:00:00"),  # the start of daylight saving time in Europe
        ("1970-01-01T00:00:00Z", "week", "1969-12-29T00:00:00"),
    ],
)
def test_time_belongs_to_the_bucket_that_starts_last_before_it(time: str, interval: Interval, start: str) -> None:
    assert text(bucket_start(ms(time), interval)) == start


def test_buckets_agree_with_the_calendar() -> None:
    for day in range(0, 20_000, 7):
        time_ms = day * 24 * 3_600_000 + 3_661_001
        week = from_ms(bucket_start(time_ms, "week"))
        assert (week.weekday(), week.hour) == (0, 0)
        assert from_ms(time_ms).isocalendar()[:2] == week.isocalendar()[:2]
        assert from_ms(bucket_start(time_ms, "day")).date() == from_ms(time_ms).date()


@pytest.mark.parametrize(
    ("from_", "to", "interval", "expected"),
    [
        (None, None, "hour", ("2026-05-19T07:00:00", "2026-05-20T13:00:00")),
        (None, None, "day", ("2026-04-21T00:00:00", "2026-05-21T00:00:00")),
        (None, None, "week", ("2025-10-27T00:00:00", "2026-05-25T00:00:00")),
        (None, "2026-05-10T00:00:00Z", "day", ("2026-04-10T00:00:00", "2026-05-10T00:00:00")),
        (None, "2026-05-10T00:00:01Z", "day", ("2026-04-11T00:00:00", "2026-05-10T00:00:01")),
        ("2026-05-20T12:00:00Z", None, "day", ("2026-05-20T12:00:00", "2026-05-21T00:00:00")),
    ],
)
def test_default_is_the_latest_30_buckets(
    from_: str | None, to: str | None, interval: Interval, expected: tuple[str, str]
) -> None:
    chosen = choose_range(optional_ms(from_), optional_ms(to), interval, ms(NOW))
    assert tuple(map(text, chosen)) == expected


@pytest.mark.parametrize("interval", LENGTHS_MS)
def test_range_has_at_most_400_buckets(interval: Interval) -> None:
    length_ms, start = LENGTHS_MS[interval], bucket_start(ms(NOW), interval)
    assert choose_range(start, start + 400 * length_ms, interval, 0)
    assert choose_range(start + 1, start + 400 * length_ms, interval, 0)
    for first, last in ((start, 400 * length_ms + 1), (start - 1, 400 * length_ms)):
        with pytest.raises(InvalidRequest, match="has 401 buckets, at most 400") as raised:
            choose_range(first, start + last, interval, 0)
        assert raised.value.param == "interval"


@pytest.mark.parametrize(("from_", "to"), [(NOW, NOW), ("2026-05-21", "2026-05-20"), ("2027-01-01", None)])
def test_empty_range_is_rejected(from_: str, to: str | None) -> None:
    with pytest.raises(InvalidRequest) as raised:
        choose_range(ms(from_), optional_ms(to), "day", ms(NOW))
    assert raised.value.param == "from"


def test_every_time_of_a_request_has_a_range() -> None:
    for to in (EARLIEST, LATEST):
        for interval in LENGTHS_MS:
            chosen = choose_range(None, ms(to), interval, ms(NOW))
            assert datetime(1, 1, 1, tzinfo=UTC) <= from_ms(chosen.from_ms) < from_ms(chosen.to_ms)
