"""Tests of the text of rates."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from service.domain.texts import format_rate


@pytest.mark.parametrize(
    ("rate", "text"),
    [
        (0, "0%"),
        (1e-7, "0.00001%"),
        (0.0004, "0.04%"),
        (1 / 16, "6.3%"),  # 6.25
        (7 / 32, "21.9%"),  # 21.875
        (0.29, "29%"),
        (2 / 3, "66.7%"),
        (0.9994, "99.9%"),
        (0.99996, "99.996%"),
        (1 - 1e-9, "99.9999999%"),
        (1, "100%"),
    ],
)
def test_rate_is_rounded_and_only_exact_rates_are_0_or_100_percent(rate: float, text: str) -> None:
    assert format_rate(rate) == text


@pytest.mark.parametrize(
    ("rate", "limit", "text"),
    [
        (0.98765, 0.98765, "98.765%"),
        (0.98766, 0.98768, "98.766%"),
        (0.987679, 0.98768, "98.7679%"),
        (0.5, 0.98768, "50%"),
        (0.9899999, 0.99, "98.99999%"),
    ],
)
def test_rate_is_shown_on_its_side_of_a_limit(rate: float, limit: float, text: str) -> None:
    assert format_rate(rate, limit) == text


@given(st.floats(0, 1), st.floats(0, 1))
def test_text_of_a_rate_compares_like_the_rate(rate: float, limit: float) -> None:
    shown = float(format_rate(rate, limit).removesuffix("%")) / 100
    assert (shown == 1) == (rate == 1)
    assert (shown == 0) == (rate == 0)
    assert abs(shown - rate) <= 0.0005 + 1e-12
