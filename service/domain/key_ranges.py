"""Ranges of the results key, which let several readers share one export."""

from collections.abc import Iterator, Sequence
from itertools import pairwise, zip_longest
from typing import Final, NamedTuple
from uuid import UUID

from service.domain.ids import CaseKey, RunKey

_FIRST_CASE: Final = -(2**63)
_CASE_KEYS: Final = 2**64  # case keys are hashes, evenly distributed over this number of values


class RangeStart(NamedTuple):
    """The newest run of a range and its number of results. A run that exceeds the range size has its own range."""

    run_key: RunKey
    results: int


class KeyRange(NamedTuple):
    """The results of several runs, or a part of the results of one run. Both ends are inclusive."""

    first_run: RunKey
    last_run: RunKey
    first_case: CaseKey = CaseKey(_FIRST_CASE)
    last_case: CaseKey = CaseKey(_FIRST_CASE + _CASE_KEYS - 1)


def split_into_ranges(first: RunKey, last: RunKey, starts: Sequence[RangeStart], max_results: int) -> list[KeyRange]:
    """Return the ranges from the last run back to the first, in list order.

    A range extends from its start to the start of the next range. A run with more than `max_results` results is split
    by case key.
    """
    if not starts:
        return [KeyRange(first, last)]
    return [
        key_range
        for start, following in zip_longest(starts, starts[1:])
        for key_range in _split_run(_next_key(following.run_key) if following else first, start, max_results)
    ]


def _split_run(first: RunKey, start: RangeStart, max_results: int) -> Iterator[KeyRange]:
    parts = -(-start.results // max_results)
    if parts <= 1:
        yield KeyRange(first, start.run_key)
        return
    edges = [_FIRST_CASE + part * _CASE_KEYS // parts for part in range(parts, -1, -1)]
    for end, start_of_part in pairwise(edges):
        yield KeyRange(start.run_key, start.run_key, CaseKey(start_of_part), CaseKey(end - 1))


def _next_key(key: RunKey) -> RunKey:
    return RunKey(UUID(int=key.int + 1))
