"""The header Retry-After of a response (RFC 9110, section 10.2.3).

This module runs on Python 3.10 without third-party packages because the client uses it.
"""

from datetime import datetime, timezone
from email.utils import parsedate_to_datetime


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
