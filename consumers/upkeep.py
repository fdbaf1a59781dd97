"""What has to be tidied up from time to time. Every chore may run in several processes at once."""

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
    """One thing to do, and how often. It may be cut off anywhere, as by the death of its process."""

    name: str
    every_s: float
    run: Callable[[], Awaitable[object]]


def periodic_loops(chores: Sequence[PeriodicTask], stopping: asyncio.Event) -> list[Loop]:
    """A loop for each chore, so that none waits for another."""
    return [_loop(chore, stopping) for chore in chores]


def _loop(chore: PeriodicTask, stopping: asyncio.Event) -> Loop:
    TASK_FAILURES.labels(chore.name)  # none yet
    return partial(repeat, chore.name, partial(_run_once, chore, stopping), chore.every_s, stopping)


async def _run_once(chore: PeriodicTask, stopping: asyncio.Event) -> None:
    """What fails is tried again the next time: nothing else of the process depends on it."""
    try:
        await run_until_stopped(stopping, chore.run())
    except Exception as error:
        TASK_FAILURES.labels(chore.name).inc()
        too_slow = isinstance(error, TimeoutError) and error.errno is None  # a statement that would be so again at once
        if is_outage(error) and not too_slow:
            raise
        expected = too_slow or isinstance(error, Unavailable) or is_conflict(error)
        log.warning("chore_put_off", chore=chore.name, error=repr(error), exc_info=None if expected else error)
