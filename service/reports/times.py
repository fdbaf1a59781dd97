"""Durations and timestamps as test tools write them."""

import re
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from functools import lru_cache
from typing import Any, Final

from service.domain.results import MAX_DURATION_MS

_MAX_S: Final = MAX_DURATION_MS / 1000
_DECIMAL_COMMA: Final = re.compile(r"(?:0|\d+),(?:\d{1,2}|\d{4,})|0,\d{3}")
_MAX_CHARACTERS: Final = 40
_FIRST_YEAR: Final = 1990  # year 1 and 1970 are how tools write that they don't know


def milliseconds(seconds: str | None) -> float:
    """`0.25` seconds are 250; what is no number, negative or longer than a result can last is 0."""
    return _milliseconds(seconds) if seconds and len(seconds) < _MAX_CHARACTERS else 0


def valid_milliseconds(duration: Any) -> float:
    """The same for a duration that is a JSON number of milliseconds."""
    if isinstance(duration, bool) or not isinstance(duration, int | float):
        return 0
    return duration if 0 < duration <= MAX_DURATION_MS else 0


def timestamp(text: str | None) -> datetime | None:
    """The moment in ISO 8601 or RFC 1123 form, UTC where it names no zone; None where it is none."""
    if not text or len(text) > _MAX_CHARACTERS:
        return None
    return _plausible(_parsed(text.strip()))


def epoch_ms(moment: Any) -> datetime | None:
    """The moment that is a JSON number of milliseconds since 1970; None where it is none."""
    if isinstance(moment, bool) or not isinstance(moment, int | float):
        return None
    try:
        return _plausible(datetime.fromtimestamp(moment / 1000, UTC))
    except (ValueError, OverflowError, OSError):
        return None


@lru_cache(4_096)  # many cases take as long as another
def _milliseconds(seconds: str) -> float:
    try:
        value = float(seconds)
    except ValueError:
        value = _with_separators(seconds.strip())
    return round(value * 1000, 3) if 0 < value <= _MAX_S else 0


def _with_separators(seconds: str) -> float:
    """`2,503.1` has thousands apart, `1,25` a decimal comma."""
    if _DECIMAL_COMMA.fullmatch(seconds):
        return float(seconds.replace(",", "."))
    try:
        return float(seconds.replace(",", ""))
    except ValueError:
        return 0


def _parsed(text: str) -> datetime | None:
    try:
        return datetime.fromisoformat(text)
    except ValueError:
        pass
    try:
        return parsedate_to_datetime(text)
    except (ValueError, TypeError, IndexError, OverflowError):
        return None


def _plausible(moment: datetime | None) -> datetime | None:
    if moment is None or moment.year < _FIRST_YEAR:
        return None
    if moment.tzinfo is None:
        return moment.replace(tzinfo=UTC)
    try:
        return moment.astimezone(UTC)
    except OverflowError:
        return None
