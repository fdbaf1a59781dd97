"""Tests of what an incomplete run still expects, in words."""

from collections.abc import Collection

import pytest
from hypothesis import given
from hypothesis import strategies as st

from service.runs.model import describe_expected, find_missing_shards


@pytest.mark.parametrize(
    ("expected", "arrived", "text"),
    [
        (2, [1], "1 of 2 shards arrived. Shard 2 is missing"),
        (3, [2], "1 of 3 shards arrived. Shards 1 and 3 are missing"),
        (8, [1, 3, 4], "3 of 8 shards arrived. Shards 2 and 5 to 8 are missing"),
        (9, [1, 3, 5], "3 of 9 shards arrived. Shards 2, 4, and 6 to 9 are missing"),
        (4, [], "0 of 4 shards arrived. Shards 1 to 4 are missing"),
        (2, [1, 2], "2 of 2 shards arrived"),
        (2, [1, 3], "1 of 2 shards arrived. Shard 2 is missing"),  # from a producer that numbers its shards wrongly
        (
            2**31,
            range(2, 40, 2),
            "19 of 2,147,483,648 shards arrived. Shards 1, 3, 5, 7, 9, 11, 13, 15, 17, 19, and 2,147,483,619 others are"
            " missing",
        ),
    ],
)
def test_missing_shards_are_named_in_a_sentence(expected: int, arrived: Collection[int], text: str) -> None:
    assert describe_expected(expected, arrived, None, 9) == text


@pytest.mark.parametrize(
    ("expected_results", "text"), [(1_000, "9 of 1,000 results arrived"), (None, None)]
)  # fmt: skip
def test_expected_results_are_counted(expected_results: int | None, text: str | None) -> None:
    assert describe_expected(None, [], expected_results, 9) == text


@given(st.integers(1, 40), st.sets(st.integers(1, 40)))
def test_every_shard_either_arrived_or_is_missing(expected: int, arrived: set[int]) -> None:
    missing = [number for numbers in find_missing_shards(expected, arrived) for number in numbers]
    assert missing == [number for number in range(1, expected + 1) if number not in arrived]
