"""What has to be tidied up from time to time. Every chore may run in several processes at once."""

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from functools import partial
from typing import NamedTuple

from consumers.loops import Loop, repeat, unless
from consumers.metrics import CHORE_FAILURES
from service.domain.errors import Unavailable
from service.log import log
from service.store.postgres.database import is_clash, is_outage


class Chore(NamedTuple):
    """One thing to do, and how often. It may be cut off anywhere, as by the death of its process."""

    name: str
    every_s: float
    run: Callable[[], Awaitable[object]]


def chore_loops(chores: Sequence[Chore], stopping: asyncio.Event) -> list[Loop]:
    """A loop for each chore, so that none waits for another."""
    return [_loop(chore, stopping) for chore in chores]


def _loop(chore: Chore, stopping: asyncio.Event) -> Loop:
    CHORE_FAILURES.labels(chore.name)  # none yet
    return partial(repeat, chore.name, partial(_run_once, chore, stopping), chore.every_s, stopping)


async def _run_once(chore: Chore, stopping: asyncio.Event) -> None:
    """What fails is tried again the next time: nothing else of the process depends on it."""
    try:
        await unless(stopping, chore.run())
    except Exception as error:
        CHORE_FAILURES.labels(chore.name).inc()
        too_slow = isinstance(error, TimeoutError) and error.errno is None  # a statement that would be so again at once
        if is_outage(error) and not too_slow:
            raise
        expected = too_slow or isinstance(error, Unavailable) or is_clash(error)
        log.warning("chore_put_off", chore=chore.name, error=repr(error), exc_info=None if expected else error)
