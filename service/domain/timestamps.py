"""Timestamps in requests: RFC 3339 times and dates."""

import re
from datetime import date, datetime, time, timedelta, timezone
from functools import lru_cache
from typing import Final

EXAMPLE: Final = "2026-05-20T12:00:00Z"
MAX_DURATION_MS: Final = 2**31 - 1  # limit of the database column: 24.8 days

_UTC: Final = timezone.utc  # the client runs on Python 3.10, which has no datetime.UTC
_EPOCH: Final = datetime(1970, 1, 1, tzinfo=_UTC)
_MS: Final = timedelta(milliseconds=1)
# asyncpg converts the first and last timestamp of the calendar to infinity. One millisecond inside, it doesn't.
_FIRST: Final = datetime.min.replace(tzinfo=_UTC) + _MS
_LAST: Final = datetime.max.replace(tzinfo=_UTC) - _MS
_DAY_MS: Final = 86_400_000
_CACHED_DAYS: Final = 4_096
_DATE: Final = re.compile(r"\d{4}-\d\d-\d\d", re.ASCII)
# RFC 3339. A "+" that the client didn't percent-encode arrives as a space.
_TIME: Final = re.compile(r"(\d{4}-\d\d-\d\d)[Tt](\d\d:\d\d:\d\d)(\.\d+)?(?:[Zz]|([+ -])(\d\d:\d\d))", re.ASCII)


def parse_timestamp(value: object) -> datetime:
    """Return the UTC time of an RFC 3339 time or a date, which means midnight UTC. Raises ValueError."""
    try:
        if isinstance(value, str):
            return min(_LAST, max(_FIRST, _parse(value)))
    except (ValueError, OverflowError):
        pass
    raise ValueError(f"must be a date or an RFC 3339 time, for example {EXAMPLE}")


def to_ms(timestamp: datetime) -> int:
    """Return milliseconds since 1970, rounded up.

    Completion times are integer milliseconds. Rounding up keeps earlier runs out of a filter by `from`.
    """
    return -((_EPOCH - timestamp) // _MS)


def day_to_ms(day: date) -> int:
    """Return the start of a day in UTC as milliseconds since 1970."""
    return (day - _EPOCH.date()).days * _DAY_MS


def from_ms(timestamp_ms: int) -> datetime:
    """Return the UTC time of milliseconds since 1970."""
    return _EPOCH + timestamp_ms * _MS


def format_time(timestamp: datetime) -> str:
    """Return the RFC 3339 time in UTC with milliseconds, as all responses of the API have it."""
    return format_ms((timestamp - _EPOCH) // _MS)


def format_ms(timestamp_ms: int) -> str:
    """Return the RFC 3339 time of milliseconds since 1970, with milliseconds and "Z"."""
    day, ms = divmod(timestamp_ms, _DAY_MS)
    clock = (ms // 3_600_000, ms // 60_000 % 60, ms // 1000 % 60, ms % 1000)
    return _format_day(day) + "T%02d:%02d:%02d.%03dZ" % clock  # noqa: UP031 - twice as fast as an f-string


def format_known_ms(timestamp_ms: int | None) -> str | None:
    """Return the time like `format_ms`, or None if it is unknown."""
    return None if timestamp_ms is None else format_ms(timestamp_ms)


@lru_cache(_CACHED_DAYS)
def _format_day(day: int) -> str:
    return (_EPOCH + timedelta(days=day)).date().isoformat()


def _parse(text: str) -> datetime:
    if _DATE.fullmatch(text):
        return datetime.combine(date.fromisoformat(text), time(), _UTC)
    match = _TIME.fullmatch(text)
    if match is None:
        raise ValueError(text)
    day, clock, fraction, sign, offset = match.groups()
    zone = f"{'-' if sign == '-' else '+'}{offset}" if sign else "+00:00"
    microseconds = (fraction or ".0")[1:7].ljust(6, "0")  # Python 3.10 reads only 3 or 6 digits
    return datetime.fromisoformat(f"{day}T{clock}.{microseconds}{zone}").astimezone(_UTC)
