"""The progress of a consumer with the messages that it has received and not acknowledged."""

import asyncio
import math
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial

from service.progress import observing_progress


class ConsumerProgress:
    """When the batches and the waiting messages of one consumer last made progress.

    A retry, which is logged, is progress, and so is a statement that the database has executed: a batch has many, and
    each has its own timeout. Messages that wait for a batch make progress if any batch does.
    """

    def __init__(self, clock_s: Callable[[], float]) -> None:
        self._clock_s = clock_s
        self._batches: dict[object, float] = {}  # by the task that handles the batch
        self._waiting_since_s = math.inf
        self._last_s = 0.0

    @contextmanager
    def handling(self) -> Iterator[None]:
        """Handle a batch during the block, in the current task."""
        task = asyncio.current_task()
        self._batches[task] = self._last_s = self._clock_s()
        try:
            with observing_progress(partial(self._record, task)):
                yield
        finally:
            self._batches.pop(task, None)
            self._last_s = self._clock_s()

    def _record(self, task: object) -> None:
        if task in self._batches:
            self._batches[task] = self._last_s = self._clock_s()

    def set_waiting(self, *, waiting: bool) -> None:
        """Record whether messages wait for a batch."""
        if not waiting:
            self._waiting_since_s = math.inf
        elif self._waiting_since_s == math.inf:
            self._waiting_since_s = self._clock_s()

    def unchanged_s(self) -> float:
        """Return how long the oldest batch, or the waiting messages, have made no progress; 0 if there are none."""
        oldest_s = min([*self._batches.values(), max(self._waiting_since_s, self._last_s)])
        return 0.0 if oldest_s == math.inf else self._clock_s() - oldest_s
