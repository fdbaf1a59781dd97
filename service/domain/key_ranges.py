"""Stretches of the key of results, so that several readers can share a long list."""

from collections.abc import Iterator, Sequence
from itertools import pairwise, zip_longest
from typing import Final, NamedTuple
from uuid import UUID

from service.domain.ids import CaseKey, RunKey

_FIRST_CASE: Final = -(2**63)
_CASES: Final = 2**64  # keys of cases are hashes, spread evenly over as many numbers


class RangeStart(NamedTuple):
    """The newest run of a range, and how many results it has. A run too large for a range is alone in its own."""

    run_key: RunKey
    results: int


class KeyRange(NamedTuple):
    """The results of some runs, or a part of one run; both ends belong to it."""

    first_run: RunKey
    last_run: RunKey
    first_case: CaseKey = CaseKey(_FIRST_CASE)
    last_case: CaseKey = CaseKey(_FIRST_CASE + _CASES - 1)


def cut_into_ranges(first: RunKey, last: RunKey, starts: Sequence[RangeStart], most: int) -> list[KeyRange]:
    """From the last run back to the first, in the order of the list: from each start to just before the next."""
    if not starts:
        return [KeyRange(first, last)]
    return [
        each
        for start, following in zip_longest(starts, starts[1:])
        for each in _parts(_after(following.run_key) if following else first, start, most)
    ]


def _parts(first: RunKey, start: RangeStart, most: int) -> Iterator[KeyRange]:
    parts = -(-start.results // most)
    if parts <= 1:
        yield KeyRange(first, start.run_key)
        return
    edges = [_FIRST_CASE + part * _CASES // parts for part in range(parts, -1, -1)]
    for end, begin in pairwise(edges):
        yield KeyRange(start.run_key, start.run_key, CaseKey(begin), CaseKey(end - 1))


def _after(key: RunKey) -> RunKey:
    return RunKey(UUID(int=key.int + 1))
