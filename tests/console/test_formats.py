"""Tests of the texts for people."""

from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from service.console.formats import (
    breakable,
    format_count,
    format_duration,
    format_exact_duration,
    format_exact_time,
    format_plural,
    format_relative_time,
    format_rfc3339,
    format_short_count,
    format_time,
    safe_url,
)


@pytest.mark.parametrize(
    ("duration_ms", "text"),
    [
        (None, "–"),
        (0, "0ms"),
        (999, "999ms"),
        (1_000, "1s"),
        (1_239, "1.23s"),
        (59_990, "59.9s"),
        (60_000, "1m"),
        (252_123, "4m 12s"),
        (7_500_000, "2h 5m"),
        (86_400_000, "1d"),
        (987_654_321, "11d 10h"),
        (10**12, "11,574d 1h"),
    ],
)
def test_duration_has_at_most_two_units(duration_ms: int | None, text: str) -> None:
    assert format_duration(duration_ms) == text


@given(st.integers(0, 10**13))
def test_every_duration_is_short(duration_ms: int) -> None:
    assert len(format_duration(duration_ms)) <= 12


@pytest.mark.parametrize(
    ("count", "text"),
    [
        (None, "–"),
        (0, "0"),
        (99_999, "99,999"),
        (123_456, "123K"),
        (1_999_999, "1.9M"),
        (10**9, "1.0B"),
        (10**13, "10,000B"),
    ],
)
def test_long_counts_are_shortened(count: int | None, text: str) -> None:
    assert format_short_count(count) == text


def test_counts_and_times_are_exact_in_titles() -> None:
    assert format_count(1_204_331) == "1,204,331"
    assert format_plural(1, "run") == "1 run"
    assert format_plural(1_204, "run") == "1,204 runs"
    assert format_plural(2, "entry", "entries") == "2 entries"
    assert format_exact_duration(252_123) == "252,123 ms"
    assert format_exact_duration(None) == "Unknown duration"
    assert (format_time(None), format_exact_time(None)) == ("–", "Unknown time")


@pytest.mark.parametrize("time", [1_779_280_496_789, "2026-05-20T12:34:56.789Z"])
def test_time_of_a_row_or_of_a_public_object_is_shown(time: int | str) -> None:
    assert format_rfc3339(time) == "2026-05-20T12:34:56.789Z"
    assert format_time(time) == "2026-05-20 12:34 UTC"
    assert format_exact_time(time) == "2026-05-20 12:34:56.789 UTC"
    assert format_relative_time(time, datetime(2026, 5, 20, 12, tzinfo=UTC)) == "in 34 minutes"


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (0.5, "in less than a minute"),
        (60, "in 1 minute"),
        (7_199, "in 1 hour"),
        (13.9 * 86_400, "in 13 days"),
        (0, "less than a minute ago"),
        (-119, "1 minute ago"),
        (-86_400, "1 day ago"),
    ],
)
def test_distance_of_a_time_is_rounded_down(seconds: float, text: str) -> None:
    now = datetime(2026, 5, 20, 12, tzinfo=UTC)
    time = (now + timedelta(seconds=seconds)).isoformat().replace("+00:00", "Z")
    assert format_relative_time(time, now) == text


@pytest.mark.parametrize("url", ["https://ci.example.com/jobs/1?a=b#c", "HTTP://[::1]:8080/", "https://example.com/ä"])
def test_web_addresses_are_links(url: str) -> None:
    assert safe_url(url) == url


@pytest.mark.parametrize(
    "url",
    [
        None,
        "",
        "javascript:alert(1)",
        "JaVaScRiPt:alert(1)",
        " javascript:alert(1)",
        "java\nscript:alert(1)",
        "\x01javascript:alert(1)",
        "data:text/html,<script>alert(1)</script>",
        "vbscript:msgbox(1)",
        "javascript://example.com/%0aalert(1)",
        "ftp://example.com/",
        "file:///etc/passwd",
        "//example.com/",
        "/local",
        "example.com",
        "https:",
        "https://",
        "https:///path",
        "https:example.com",
        "https:\\\\example.com",
        "https://example.com/\nx",
        "https://[::1",
        " https://example.com/",
        "https://example.com/ javascript:alert(1)",
    ],
)
def test_other_urls_are_not_links(url: str | None) -> None:
    assert safe_url(url) is None


def test_names_can_break_after_separators_and_before_brackets() -> None:
    name = "tests/a.py::test_adds[1_000-<b>]"
    assert breakable(name) == "tests/<wbr>a.<wbr>py::<wbr>test_<wbr>adds<wbr>[1_<wbr>000-&lt;b&gt;]"
    assert breakable("plain") == "plain"


def test_only_long_names_can_break_before_capital_letters() -> None:
    assert (
        breakable("appliesEveryVoucherWhenTheCartIsFull")
        == "appliesEveryVoucher<wbr>When<wbr>The<wbr>Cart<wbr>Is<wbr>Full"
    )
    assert breakable("ValueError in NotImplementedError") == "ValueError in NotImplementedError"
