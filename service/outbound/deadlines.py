"""Deadlines of concurrent requests. They share one timer, because a timer for each request is expensive."""

import asyncio
from types import TracebackType
from typing import Literal


class Deadlines:
    """Deadlines that are all `timeout_s` seconds after their start, so they end in the order of their starts."""

    def __init__(self, timeout_s: float) -> None:
        self._timeout_s = timeout_s
        self._ends: dict[_Deadline, float] = {}  # in the order of the starts, in the time of the event loop
        self._has_timer = False

    def start(self) -> "_Deadline":
        """Return a context manager whose block raises TimeoutError if it takes longer than the timeout.

        The rules for the cancellation of the task are those of asyncio.timeout.
        """
        return _Deadline(self)

    def add(self, deadline: "_Deadline") -> None:
        """Add a deadline that starts now."""
        loop = asyncio.get_running_loop()
        ends_at = self._ends[deadline] = loop.time() + self._timeout_s
        if not self._has_timer:
            self._set_timer(loop, ends_at)

    def remove(self, deadline: "_Deadline") -> None:
        """Remove a deadline if it hasn't ended. The timer stays for the next ones."""
        self._ends.pop(deadline, None)

    def _set_timer(self, loop: asyncio.AbstractEventLoop, at: float) -> None:
        self._has_timer = True
        loop.call_at(at, self._end_expired, loop)

    def _end_expired(self, loop: asyncio.AbstractEventLoop) -> None:
        self._has_timer = False
        now = loop.time()
        for deadline, ends_at in list(self._ends.items()):
            if ends_at > now:
                return self._set_timer(loop, ends_at)
            del self._ends[deadline]
            deadline.end()
        return None


class _Deadline:
    def __init__(self, deadlines: Deadlines) -> None:
        self._deadlines = deadlines
        self._has_ended = False

    def __enter__(self) -> None:
        task = asyncio.current_task()
        if task is None:
            raise RuntimeError("a deadline must be inside a task")
        self._task = task
        self._cancel_requests = task.cancelling()
        self._deadlines.add(self)

    def __exit__(
        self, error_type: type[BaseException] | None, error: BaseException | None, _: TracebackType | None
    ) -> Literal[False]:
        self._deadlines.remove(self)
        if self._has_ended:
            is_only_request = self._task.uncancel() <= self._cancel_requests
            if is_only_request and error_type is asyncio.CancelledError:
                raise TimeoutError from error
        return False

    def end(self) -> None:
        self._has_ended = True
        self._task.cancel()
