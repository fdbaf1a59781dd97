"""The quarantines that excuse failing cases, found in slices between which other tasks run."""

import asyncio
import time
from collections.abc import AsyncIterator, Iterable
from typing import Final, TypeVar

from service.domain.errors import Unavailable
from service.domain.ids import CaseKey
from service.quarantines.model import ActiveQuarantines, CaseTexts

T = TypeVar("T")

# 500 ordinary globs and 50,000 failures, the limits, take about half of the budget.
_BUDGET_S: Final = 3.0
_SLICE_S: Final = 0.0005
_RETRY_AFTER_S: Final = 30


class GlobBudget:
    """A budget of CPU time, which all iterations share. `subject` states what is matched, for the error.

    A thread would delay each step of the other tasks by the 5 ms after which Python switches between threads.
    """

    def __init__(self, subject: str) -> None:
        self._subject = subject
        self._used_s = 0.0

    async def spread(self, items: Iterable[T]) -> AsyncIterator[T]:
        """Yield the items, whose computation uses the budget. Raises Unavailable if the budget is used up."""
        started_s = time.thread_time()
        for item in items:
            yield item
            if time.thread_time() - started_s >= _SLICE_S:
                self._spend(time.thread_time() - started_s)
                await asyncio.sleep(0)
                started_s = time.thread_time()
        self._spend(time.thread_time() - started_s)

    def _spend(self, used_s: float) -> None:
        self._used_s += used_s
        if self._used_s > _BUDGET_S:
            raise Unavailable(f"{self._subject} takes too long; use fewer globs or wildcards", _RETRY_AFTER_S)


class ExcuseSearch:
    """Matches cases with the active quarantines of a project. All calls of one instance share a budget of CPU time."""

    def __init__(self, active: ActiveQuarantines) -> None:
        self._active = active
        self._budget = GlobBudget("quarantines: comparing the globs with the failures")

    @property
    def is_empty(self) -> bool:
        """Whether no case can match."""
        return self._active.is_empty

    async def find(self, cases: Iterable[CaseTexts]) -> dict[CaseKey, str]:
        """Return the oldest quarantine of each case that one matches.

        Raises Unavailable if the budget is used up, because the other cases are then neither excused nor not excused.
        """
        spread = self._budget.spread(self._active.match(cases))
        return {excused.case_key: excused.quarantine_id async for excused in spread if excused is not None}
