"""An event loop whose clock advances to the next timer immediately, so that hours of waiting take no time."""

import asyncio
import selectors
from collections.abc import Coroutine
from itertools import count
from typing import Any, Final

_MAX_STEPS: Final = 100_000


class Deadlock(Exception):
    """All tasks wait without a limit, or one never waits."""


class _Clock(selectors.SelectSelector):
    """A selector that advances the time instead of waiting for files."""

    now_s = 0.0
    steps = 0  # of the loop at the current time

    def select(self, timeout: float | None = None) -> list[Any]:
        if timeout is None:
            raise Deadlock("all tasks wait without a limit")
        self.steps = 0 if timeout else self.steps + 1
        if self.steps > _MAX_STEPS:
            raise Deadlock("a task repeats its work without a wait")
        self.now_s += timeout
        return []


class _NumberedTask(asyncio.Task[Any]):
    """A task whose hash doesn't depend on its address, so that sets of tasks have the same order in each run."""

    def __init__(self, number: int, coroutine: Coroutine[Any, Any, Any], **options: Any) -> None:
        self._number = number
        super().__init__(coroutine, **options)

    def __hash__(self) -> int:
        return self._number

    def __eq__(self, other: object) -> bool:
        return self is other


class VirtualTimeLoop(asyncio.SelectorEventLoop):
    """An event loop with virtual time. Its tasks run in the same order for the same program."""

    def __init__(self) -> None:
        self._clock = _Clock()
        super().__init__(self._clock)
        numbers = count()
        self.set_task_factory(
            lambda loop, coroutine, **options: _NumberedTask(next(numbers), coroutine, loop=loop, **options)
        )

    def time(self) -> float:
        """Return the virtual time in seconds."""
        return self._clock.now_s
