"""The batches that one consumer handles concurrently."""

import asyncio
from collections.abc import Coroutine
from itertools import takewhile
from types import TracebackType
from typing import Any, Self

from service.stopping import end_tasks, has_failed


class BatchTasks:
    """The tasks of the batches in the order of their messages. At the end of the block, all have finished.

    An error in the block, or of a task, cancels the other tasks. The broker delivers their messages again.
    """

    def __init__(self, limit: int) -> None:
        self._limit = limit
        self._tasks: list[asyncio.Task[None]] = []

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, error_type: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        try:
            while error is None and self._tasks:
                await asyncio.wait(self._tasks, return_when=asyncio.FIRST_COMPLETED)
                self.remove_finished()
        finally:
            await end_tasks(self._tasks)

    @property
    def is_full(self) -> bool:
        """Whether no further batch can start."""
        return len(self._tasks) >= self._limit

    @property
    def unfinished(self) -> tuple[asyncio.Task[None], ...]:
        """The tasks that `remove_finished` hasn't removed yet."""
        return tuple(self._tasks)

    def start(self, handle: Coroutine[Any, Any, None]) -> None:
        """Start to handle the next batch."""
        task = asyncio.create_task(handle)
        task.add_done_callback(has_failed)  # if several fail, one error is raised
        self._tasks.append(task)

    def remove_finished(self) -> None:
        """Remove the finished tasks. Raises the error of a failed one, which isn't removed."""
        for task in self.unfinished:
            if task.done():
                task.result()
                self._tasks.remove(task)

    async def have_earlier_succeeded(self, timeout_s: float) -> bool:
        """Wait a short time for the batches before that of the current task. Return whether all are acknowledged."""
        current = asyncio.current_task()
        earlier = list(takewhile(lambda task: task is not current, self._tasks))
        if earlier:
            await asyncio.wait(earlier, timeout=timeout_s)
        return all(task.done() and not task.cancelled() and task.exception() is None for task in earlier)
