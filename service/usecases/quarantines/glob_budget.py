"""The CPU time that one request can use to match globs, in slices between which other tasks run."""

import asyncio
import time
from collections.abc import AsyncIterator, Iterable
from typing import Final, TypeVar

from service.domain.errors import Unavailable

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
