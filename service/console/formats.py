"""Human-readable text: durations, counts, rates, times, and the URLs that pages can link to. Templates use them."""

import re
from datetime import UTC, datetime
from typing import Final
from urllib.parse import urlsplit

from markupsafe import Markup

from service.domain.timestamps import format_ms

ShownTime = int | str  # ms since 1970, or the text of a public object

UNKNOWN: Final = "–"
_LINK: Final = re.compile(r"https?://[^\s\x00-\x20\x7f\\]+", re.IGNORECASE)
_SECOND_MS: Final = 1_000
_MINUTE_MS: Final = 60_000
_HOUR_MS: Final = 3_600_000
_DAY_MS: Final = 86_400_000
_UNITS: Final = (("d", _DAY_MS, "h", _HOUR_MS), ("h", _HOUR_MS, "m", _MINUTE_MS), ("m", _MINUTE_MS, "s", _SECOND_MS))
# Only words of more than 16 letters, such as names of tests in Java, break within: others fit into a narrow window.
_BREAKS: Final = re.compile(r"(?<=[_./:>])(?=\w)|(?=\[\w)|(?<=[A-Za-z]{15}[a-z])(?=[A-Z])")
_MIN_COMPACT: Final = 100_000


def format_duration(duration_ms: float | None) -> str:
    """Return a duration with two units at most, rounded down, such as `4m 12s`."""
    if duration_ms is None:
        return UNKNOWN
    if duration_ms < _SECOND_MS:
        return f"{round(duration_ms)}ms"
    if duration_ms < _MINUTE_MS:
        return f"{_floor(duration_ms / _SECOND_MS, 2 if duration_ms < 10 * _SECOND_MS else 1):g}s"
    for unit, size_ms, smaller, smaller_ms in _UNITS:
        if duration_ms >= size_ms:
            return _two_units(int(duration_ms // size_ms), unit, int(duration_ms % size_ms // smaller_ms), smaller)
    raise AssertionError(duration_ms)


def _two_units(count: int, unit: str, smaller_count: int, smaller_unit: str) -> str:
    return f"{count:,}{unit} {smaller_count}{smaller_unit}" if smaller_count else f"{count:,}{unit}"


def format_exact_duration(duration_ms: float | None) -> str:
    """Return a duration in milliseconds, for a title."""
    return "Unknown duration" if duration_ms is None else f"{round(duration_ms):,} ms"


def format_count(count: int | None) -> str:
    """Return a number with separators, such as `1,204`."""
    return UNKNOWN if count is None else f"{count:,}"


def format_short_count(count: int | None) -> str:
    """Return a number that fits into a narrow column: from 100,000 on, such as `120K` or `1.2M`, rounded down."""
    if count is None or count < _MIN_COMPACT:
        return format_count(count)
    for unit, size in (("B", 10**9), ("M", 10**6), ("K", 10**3)):
        if count >= size:
            return f"{_floor(count / size, 1 if count < 100 * size else 0):,}{unit}"
    raise AssertionError(count)


def format_plural(count: int, noun: str, plural: str | None = None) -> str:
    """Return a number with its noun, such as `1 run` or `1,204 runs`."""
    return f"{count:,} {noun if count == 1 else plural or noun + 's'}"


def format_size(size: int | None) -> str:
    """Return a number of bytes in a unit of 1,024, rounded down, such as `1.4 KiB`."""
    if size is None:
        return UNKNOWN
    for unit, power in (("GiB", 30), ("MiB", 20), ("KiB", 10)):
        if size >= 2**power:
            return f"{_floor(size / 2**power, 1):g} {unit}"
    return format_plural(size, "byte")


def _floor(value: float, digits: int) -> float | int:
    """Round down. Adds a billionth first, so that a value such as 0.29 × 100 isn't below its decimal."""
    factor = 10**digits
    floored = int(value * factor + 1e-9) / factor
    return int(floored) if digits == 0 else floored


def breakable(text: str) -> Markup:
    """Return a name as HTML in which lines can also break after its separators, such as `_` and `/`."""
    return Markup("<wbr>").join(_BREAKS.split(text))


def first_line(text: str) -> str:
    """Return the first line that isn't blank, or an empty text."""
    return next((line.strip() for line in text.splitlines() if line.strip()), "")


def format_rfc3339(time: ShownTime) -> str:
    """Return a time as the API writes it."""
    return time if isinstance(time, str) else format_ms(time)


def format_time(time: ShownTime | None) -> str:
    """Return a time in UTC, such as `2026-05-20 12:00 UTC`."""
    if time is None:
        return UNKNOWN
    text = format_rfc3339(time)
    return f"{text[:10]} {text[11:16]} UTC"


def format_relative_time(time: ShownTime, now: datetime) -> str:
    """Return the distance of a time, rounded down, such as `in 13 days` or `2 hours ago`."""
    seconds = (datetime.fromisoformat(format_rfc3339(time)) - now).total_seconds()
    for size_s, unit in ((86_400, "day"), (3_600, "hour"), (60, "minute")):
        if abs(seconds) >= size_s:
            distance = format_plural(int(abs(seconds) // size_s), unit)
            return f"in {distance}" if seconds > 0 else f"{distance} ago"
    return "in less than a minute" if seconds > 0 else "less than a minute ago"


def format_exact_time(time: ShownTime | None) -> str:
    """Return a time with milliseconds, for a title."""
    if time is None:
        return "Unknown time"
    text = format_rfc3339(time)
    return f"{text[:10]} {text[11:].removesuffix('Z')} UTC"


def format_day(time_ms: float) -> str:
    """Return the day in UTC of a time in ms since 1970, such as `May 20`."""
    day = datetime.fromtimestamp(time_ms / _SECOND_MS, UTC)
    return f"{day:%b} {day.day}"


def safe_url(url: str | None) -> str | None:
    """Return the URL if a page can link to it: an http or https URL with a host. Otherwise, return None.

    Producers choose URLs. A `javascript:` URL would run as a script of the console.
    """
    if url is None or not _LINK.fullmatch(url):
        return None
    try:
        return url if urlsplit(url).hostname else None
    except ValueError:
        return None
