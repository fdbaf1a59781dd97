"""Parsers of the durations and timestamps that test tools write."""

import re
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from typing import Any, Final

from service.domain.timestamps import MAX_DURATION_MS

_MAX_S: Final = MAX_DURATION_MS / 1000
# The last separator is the decimal one, unless it's repeated. `1,234` is ambiguous.
_DECIMAL_POINT: Final = re.compile(r"\d{1,3}(?:,\d{3})+\.\d*|\d{1,3}(?:,\d{3}){2,}")
_DECIMAL_COMMA: Final = re.compile(r"\d{1,3}(?:\.\d{3})+,\d*|\d{1,3}(?:\.\d{3}){2,}|(?![1-9]\d{0,2},\d{3}$)\d+,\d+")
_TIME_SPAN: Final = re.compile(r"(?:(\d{1,9})\.)?(\d{1,9}):(\d\d):(\d\d(?:\.\d{1,9})?)", re.ASCII)
_MAX_CHARACTERS: Final = 40
_FIRST_YEAR: Final = 1990  # tools write the year 1 or 1970 if they don't know the time
_FIRST_MS: Final = 10**11


def milliseconds(seconds: str) -> float | None:
    """Parse a number of seconds: `0.25` is 250. A positive duration is at least 1.

    Return None if the number is invalid, negative, or above the maximum duration.
    """
    if len(seconds) >= _MAX_CHARACTERS:
        return None
    try:
        value = float(seconds)
    except ValueError:
        value = _with_separators(seconds.strip())
    return _at_least_1(value * 1000) if 0 <= value <= _MAX_S else None


def _with_separators(seconds: str) -> float:
    """Parse a number such as `2,503.1`, `1.234,5`, or `1,25`. Return -1 if it's invalid or ambiguous."""
    if _DECIMAL_POINT.fullmatch(seconds):
        return float(seconds.replace(",", ""))
    if _DECIMAL_COMMA.fullmatch(seconds):
        return float(seconds.replace(".", "").replace(",", "."))
    return -1


def _at_least_1(duration_ms: float) -> float:
    return max(1, round(duration_ms, 3)) if duration_ms > 0 else 0


def timespan_ms(text: str) -> float | None:
    """Parse a time span of .NET, such as `1.02:03:04.5678901`: days, hours, minutes, and seconds.

    Return None if the text is invalid or above the maximum duration.
    """
    match = _TIME_SPAN.fullmatch(text)
    if not match:
        return None
    days, hours, minutes, seconds = match.groups(default="0")
    return milliseconds(str(((int(days) * 24 + int(hours)) * 60 + int(minutes)) * 60 + float(seconds)))


def valid_milliseconds(duration: Any) -> float | None:
    """Return a JSON number of milliseconds. A positive duration is at least 1.

    Return None if the number is invalid, negative, or above the maximum duration.
    """
    if isinstance(duration, bool) or not isinstance(duration, int | float):
        return None
    return _at_least_1(duration) if 0 <= duration <= MAX_DURATION_MS else None


def timestamp(text: str | None) -> datetime | None:
    """Parse an ISO 8601 or RFC 1123 timestamp. Return UTC, or a time without a zone if the text has none.

    Return None if the text is invalid.
    """
    if not text or len(text) > _MAX_CHARACTERS:
        return None
    return _plausible(_parsed(text.strip()))


def _plausible(time: datetime | None) -> datetime | None:
    if time is None or time.year < _FIRST_YEAR:
        return None
    if time.tzinfo is None:
        return time
    try:
        return time.astimezone(UTC)
    except OverflowError:
        return None


def _parsed(text: str) -> datetime | None:
    try:
        return datetime.fromisoformat(text)
    except ValueError:
        pass
    try:
        return parsedate_to_datetime(text)
    except (ValueError, TypeError, IndexError, OverflowError):
        return None


def utc_timestamp(text: str | None) -> datetime | None:
    """Parse a timestamp with a zone. Return None if it is invalid or has no zone, because then it is unknown."""
    time = timestamp(text)
    return time if time and time.tzinfo else None


def epoch_ms(value: Any) -> datetime | None:
    """Parse a JSON number of milliseconds since 1970. Return None if it is invalid.

    A number that would be a time before 1974 is in seconds: playwright-ctrf-json-reporter writes the times of the run
    in milliseconds, but the times of its tests in seconds.
    """
    if isinstance(value, bool) or not isinstance(value, int | float):
        return None
    try:
        return _plausible(datetime.fromtimestamp(value / 1000 if value >= _FIRST_MS else value, UTC))
    except (ValueError, OverflowError, OSError):
        return None
