"""The delays between retries."""

import random
from collections.abc import Iterable, Iterator
from datetime import datetime, timezone
from email.utils import parsedate_to_datetime


class Backoff(Iterator[float]):
    """An endless iterator of retry delays in seconds that double from the first to the longest.

    Each delay varies randomly by up to `jitter` (a fraction of the delay), so that clients don't retry in step.
    """

    def __init__(self, first_s: float, longest_s: float, jitter: float = 0.2) -> None:
        self._first_s = first_s
        self._longest_s = longest_s
        self._jitter = jitter
        self._next_s = first_s

    def __next__(self) -> float:
        delay_s = self._next_s
        self._next_s = min(self._longest_s, delay_s * 2)
        return delay_s * random.uniform(1 - self._jitter, 1 + self._jitter)  # noqa: S311 - spreads load, guards no secret

    def reset(self) -> None:
        """Start again with the first delay, after an attempt has succeeded."""
        self._next_s = self._first_s


def limited(delays_s: Iterable[float], total_s: float) -> Iterator[float]:
    """Return the delays until their sum is `total_s`; the last one is shortened."""
    for delay_s in delays_s:
        if total_s <= 0:
            return
        yield min(delay_s, total_s)
        total_s -= delay_s


def parse_retry_after(value: str | None, now: datetime) -> float | None:
    """Return the requested wait in seconds, from a number of seconds or an HTTP date, or None without a valid value."""
    if value is None:
        return None
    if value.strip().isdecimal():
        return float(value[:10])
    try:
        parsed = parsedate_to_datetime(value)
        aware = parsed if parsed.tzinfo else parsed.replace(tzinfo=timezone.utc)
        return max(0.0, (aware - now).total_seconds())
    except (ValueError, OverflowError):  # OverflowError: a year outside the calendar
        return None
