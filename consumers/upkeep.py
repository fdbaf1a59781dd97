"""Periodic maintenance tasks. Each task can run in several processes concurrently."""

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from functools import partial
from typing import NamedTuple

from consumers.loops import Loop, repeat
from consumers.metrics import TASK_FAILURES
from service.domain.errors import Unavailable
from service.log import log
from service.stopping import run_until_stopped
from service.store.postgres.database import is_conflict, is_outage


class PeriodicTask(NamedTuple):
    """A maintenance task and its interval. It must tolerate cancellation and a crash of its process at any point."""

    name: str
    every_s: float
    run: Callable[[], Awaitable[object]]


def periodic_loops(tasks: Sequence[PeriodicTask], stopping: asyncio.Event) -> list[Loop]:
    """Return one loop for each task, so that no task waits for another."""
    return [_loop(task, stopping) for task in tasks]


def _loop(task: PeriodicTask, stopping: asyncio.Event) -> Loop:
    TASK_FAILURES.labels(task.name)  # rate() needs the series from the start
    return partial(repeat, task.name, partial(_run_once, task, stopping), task.every_s, stopping)


async def _run_once(task: PeriodicTask, stopping: asyncio.Event) -> None:
    """Run the task once. A failed task runs again after its interval, because no other work depends on it.

    Raises only an outage of the database, which is retried earlier.
    """
    try:
        await run_until_stopped(stopping, task.run())
    except Exception as error:
        TASK_FAILURES.labels(task.name).inc()
        timed_out = isinstance(error, TimeoutError) and error.errno is None  # a statement; a retry would time out too
        if is_outage(error) and not timed_out:
            raise
        expected = timed_out or isinstance(error, Unavailable) or is_conflict(error)
        log.warning("periodic_task_failed", task=task.name, error=repr(error), exc_info=None if expected else error)
