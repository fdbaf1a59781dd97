"""Ranges of keys: together they are the whole, each key once, in the order of the list."""

from itertools import pairwise
from uuid import UUID

from hypothesis import given
from hypothesis import strategies as st

from service.domain.ids import CaseKey, RunKey
from service.domain.key_ranges import KeyRange, RangeStart, split_into_ranges

MOST = 10
LAST_CASE = 2**63 - 1
FIRST_CASE = -(2**63)

starts = st.dictionaries(st.integers(100, 1_000), st.integers(0, 95), max_size=8)


def run(number: int) -> RunKey:
    return RunKey(UUID(int=number))


def cut(runs: dict[int, int]) -> list[KeyRange]:
    return split_into_ranges(
        run(50), run(2_000), [RangeStart(run(key), runs[key]) for key in sorted(runs, reverse=True)], MOST
    )


def holding(ranges: list[KeyRange], run_number: int, case_key: int) -> list[int]:
    return [
        nth
        for nth, part in enumerate(ranges)
        if part.first_run.int <= run_number <= part.last_run.int and part.first_case <= case_key <= part.last_case
    ]


@given(starts, st.data())
def test_each_key_is_in_one_range(runs: dict[int, int], data: st.DataObject) -> None:
    number = data.draw(st.sampled_from(sorted(runs)) if runs else st.integers(50, 2_000))
    case_key = data.draw(st.sampled_from([FIRST_CASE, -1, 0, LAST_CASE]) | st.integers(FIRST_CASE, LAST_CASE))
    assert len(holding(cut(runs), number, case_key)) == 1


@given(starts)
def test_ranges_follow_the_list_from_the_greatest_key_to_the_smallest(runs: dict[int, int]) -> None:
    ranges = cut(runs)
    assert all(
        (after.last_run, after.last_case) < (before.first_run, before.first_case) for before, after in pairwise(ranges)
    )


def test_a_run_of_many_results_is_cut_by_its_cases() -> None:
    ranges = cut({500: 41, 400: 3})
    assert [part.last_run.int for part in ranges] == [500] * 5 + [400]
    assert {part.last_case - part.first_case for part in ranges[:5]} <= {2**64 // 5 - 1, 2**64 // 5}


def test_without_a_run_there_is_one_range_of_nothing() -> None:
    assert cut({}) == [KeyRange(run(50), run(2_000), CaseKey(FIRST_CASE), CaseKey(LAST_CASE))]
