"""Documents are bounded, hidden characters are visible, and shortened texts are named."""

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from service.mcp.documents import count_fitting, encode, shorten, untrusted

TEXTS = st.text(max_size=300)


@given(TEXTS)
def test_encoded_text_is_unchanged_and_visible(text: str) -> None:
    encoded = encode({"name": text})
    assert orjson.loads(encoded) == {"name": text}
    assert encoded.isprintable()


@pytest.mark.parametrize("hidden", ["\U000e0041", "\u200b", "\u202e", "\ufe01", "\U000e0101", "\x1b", "\x9b"])
def test_hidden_character_is_escaped(hidden: str) -> None:
    encoded = encode(f"a{hidden}b")
    assert hidden not in encoded
    assert encoded.startswith('"a\\u')
    assert orjson.loads(encoded) == f"a{hidden}b"


@given(TEXTS, st.integers(0, 400))
def test_shortened_text_is_the_longest_start_that_fits(text: str, limit: int) -> None:
    short = shorten(text, limit)
    assert text.startswith(short)
    assert len(encode(short)) - 2 <= limit
    assert short == text or len(encode(text[: len(short) + 1])) - 2 > limit


def test_shortened_texts_are_named() -> None:
    source = {"name": "n" * 301, "suite": "s", "file": None, "labels": {"a": "1"}, "variant": {}, "status": "failed"}
    assert untrusted(source, "name", "suite", "file", "labels", "variant", message=5) == {
        "untrusted": {"name": "n" * 300, "suite": "s", "labels": {"a": "1"}}, "truncated_texts": ["name"],
    }  # fmt: skip
    pairs = {str(number): "x" * 100 for number in range(20)}
    shortened = untrusted({"labels": pairs}, "labels")
    assert shortened["truncated_texts"] == ["labels"]
    assert 6 <= len(shortened["untrusted"]["labels"]) <= 7


def test_at_least_one_row_fits() -> None:
    rows = [{"a": 1}, {"a": 2}, {"a": 3}]
    assert [count_fitting(rows, limit) for limit in (1, 8, 15, 16, 100)] == [1, 1, 1, 2, 3]
