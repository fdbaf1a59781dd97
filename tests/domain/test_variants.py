"""The text of variants."""

import pytest

from service.domain.ids import case_key
from service.domain.variants import canonical_variant, parse_pair, parse_pairs


def test_canonical_variant_does_not_depend_on_the_order_of_keys() -> None:
    assert canonical_variant({"os": "linux", "b": "2"}) == canonical_variant({"b": "2", "os": "linux"}) != ""
    assert canonical_variant({}) == canonical_variant(None) == ""


def test_text_with_delimiters_does_not_equal_another_variant() -> None:
    variants = [{"a": "b"}, {"a": 'b","c":"d'}, {"a": "b", "c": "d"}, {'a":"b","c': "d"}, {"a:b": "c"}, {"a": "b:c"}]
    assert len({canonical_variant(variant) for variant in variants}) == len(variants)


def test_keys_of_cases_without_a_variant_do_not_depend_on_variants() -> None:
    assert case_key("shop", "tc_1", "", "a", 0) == case_key("shop", "tc_1", "", "a", 0, "")
    named = {case_key("shop", case_id, "", "a", 0, text) for case_id in ("tc_1", None) for text in ("", "{1}", "{2}")}
    assert len(named) == 6


def test_pair_is_split_at_the_first_colon() -> None:
    assert parse_pair("time:12:30") == ("time", "12:30")
    assert parse_pairs(["os:linux", "python:3.12"]) == {"os": "linux", "python": "3.12"}


@pytest.mark.parametrize(
    "text", ["linux", ":linux", "os:", "o\ns:linux", "os:\u200b", "x" * 65 + ":y", "x:" + "y" * 65]
)
def test_invalid_pair_is_an_error(text: str) -> None:
    with pytest.raises(ValueError, match="must be key:value with 1 to 64 printable characters each"):
        parse_pair(text)


def test_repeated_key_is_an_error() -> None:
    with pytest.raises(ValueError, match="must contain the key 'os' only once"):
        parse_pairs(["os:linux", "os:macos"])
