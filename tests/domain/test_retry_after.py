"""The header Retry-After is a number of seconds or a date."""

from datetime import UTC, datetime

import pytest

from service.domain.backoff import parse_retry_after

NOW = datetime(2026, 5, 20, 12, 0, 0, tzinfo=UTC)


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        (None, None),
        ("7", 7),
        (" 0 ", 0),
        ("Wed, 20 May 2026 12:01:30 GMT", 90),
        ("Wed, 20 May 2026 12:01:30 -0000", 90),
        ("Wed, 20 May 2026 11:00:00 GMT", 0),
        ("soon", None),
        ("-1", None),
        ("", None),
        ("Wed, 20 May 99999 12:00:00 GMT", None),
    ],
)
def test_value_is_the_requested_wait(value: str | None, expected: float | None) -> None:
    assert parse_retry_after(value, NOW) == expected
