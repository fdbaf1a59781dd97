"""Key ranges: they cover each key exactly once, in list order."""

from itertools import pairwise
from uuid import UUID

from hypothesis import given
from hypothesis import strategies as st

from service.domain.ids import CaseKey, RunKey
from service.exports.model import KeyRange, RangeStart, split_into_ranges

MAX_RESULTS = 10
LAST_CASE = 2**63 - 1
FIRST_CASE = -(2**63)

starts = st.dictionaries(st.integers(100, 1_000), st.integers(0, 95), max_size=8)


def run(number: int) -> RunKey:
    return RunKey(UUID(int=number))


def split(runs: dict[int, int]) -> list[KeyRange]:
    return split_into_ranges(
        run(50), run(2_000), [RangeStart(run(key), runs[key]) for key in sorted(runs, reverse=True)], MAX_RESULTS
    )


def ranges_with_key(ranges: list[KeyRange], run_number: int, case_key: int) -> list[int]:
    return [
        index
        for index, key_range in enumerate(ranges)
        if key_range.first_run.int <= run_number <= key_range.last_run.int
        and key_range.first_case <= case_key <= key_range.last_case
    ]


@given(starts, st.data())
def test_each_key_is_in_exactly_one_range(runs: dict[int, int], data: st.DataObject) -> None:
    number = data.draw(st.sampled_from(sorted(runs)) if runs else st.integers(50, 2_000))
    case_key = data.draw(st.sampled_from([FIRST_CASE, -1, 0, LAST_CASE]) | st.integers(FIRST_CASE, LAST_CASE))
    assert len(ranges_with_key(split(runs), number, case_key)) == 1


@given(starts)
def test_ranges_are_in_descending_key_order(runs: dict[int, int]) -> None:
    ranges = split(runs)
    assert all(
        (after.last_run, after.last_case) < (before.first_run, before.first_case) for before, after in pairwise(ranges)
    )


def test_large_run_is_split_by_case_key() -> None:
    ranges = split({500: 41, 400: 3})
    assert [key_range.last_run.int for key_range in ranges] == [500] * 5 + [400]
    assert {key_range.last_case - key_range.first_case for key_range in ranges[:5]} <= {2**64 // 5 - 1, 2**64 // 5}


def test_range_without_runs_stays_complete() -> None:
    assert split({}) == [KeyRange(run(50), run(2_000), CaseKey(FIRST_CASE), CaseKey(LAST_CASE))]
