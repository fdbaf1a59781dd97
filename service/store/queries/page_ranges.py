"""The range of months that a page probably needs, estimated from the last page of the same list.

The tables of results are partitioned by month, and a statement opens every partition in its range before it reads the
first row. A page usually ends in the month in which it starts, or soon before. Therefore, the store reads these months
first.
"""

import time
from functools import lru_cache
from typing import Final

from service.domain.filters import ResultFilter
from service.domain.ids import OrgId, RunKey, completed_ms, first_run_key
from service.domain.timestamps import from_ms, to_ms

_MAX_LISTS: Final = 10_000
_DAY_MS: Final = 24 * 3600 * 1000


def list_id(org_id: OrgId, filter_: ResultFilter) -> int:
    """Return the number of a list in PageRanges. If two lists have the same one, only their estimates are worse."""
    return hash((org_id, filter_))


class PageRanges:
    """The end of the last first page of each list, and the time between the start and the end of its last page.

    Only the time that a page takes depends on them: a page that doesn't end in the estimated range is read again.
    """

    def __init__(self) -> None:
        self._ends_ms: dict[int, int] = {}  # of first pages of lists without an upper limit
        self._lengths_ms: dict[int, int] = {}

    def first_key(self, list_: int, before: RunKey) -> RunKey | None:
        """Return the first key of the months that the page before this key probably needs. None if they are unknown."""
        before_ms = completed_ms(before)
        end_ms = self._ends_ms.get(list_) if before_ms > _now_ms() else self._expected_end_ms(list_, before_ms)
        return None if end_ms is None else _first_key_of_month((end_ms - _DAY_MS) // _DAY_MS)

    def _expected_end_ms(self, list_: int, before_ms: int) -> int | None:
        length_ms = self._lengths_ms.get(list_)
        return None if length_ms is None else before_ms - length_ms

    def record(self, list_: int, before: RunKey, last: RunKey | None) -> None:
        """Record the last run that a page examined, or None if the list ended."""
        before_ms, now_ms = completed_ms(before), _now_ms()
        is_open = before_ms > now_ms  # whether new results can belong to the page
        if last is None:
            (self._ends_ms if is_open else self._lengths_ms).pop(list_, None)
            return
        if max(len(self._ends_ms), len(self._lengths_ms)) >= _MAX_LISTS:
            self.clear()
        last_ms = completed_ms(last)
        if is_open:  # new results only move the end of the first page forward
            self._ends_ms[list_] = last_ms
        # A page also reads the first result of the next one, and other pages of the list can be longer. The first page
        # of a list without a limit starts now.
        self._lengths_ms[list_] = max(min(before_ms, now_ms) - last_ms, 0) * 3 // 2

    def clear(self) -> None:
        """Delete all records, which don't apply to another database."""
        self._ends_ms.clear()
        self._lengths_ms.clear()


def _now_ms() -> int:
    return time.time_ns() // 1_000_000


@lru_cache(2_000)
def _first_key_of_month(day: int) -> RunKey:
    """Return the first key of the month of a day, in days since 1970."""
    return first_run_key(to_ms(from_ms(max(day, 0) * _DAY_MS).replace(day=1)))
