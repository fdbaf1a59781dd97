"""What has to be tidied up from time to time. Every chore may run in several processes at once."""

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from typing import NamedTuple

from consumers.loops import Loop, repeat
from service.domain.errors import Unavailable
from service.log import log


class Chore(NamedTuple):
    """One thing to do, and how often."""

    name: str
    every_s: float
    run: Callable[[], Awaitable[object]]


def chore_loops(chores: Sequence[Chore], stopping: asyncio.Event) -> list[Loop]:
    """A loop for each chore, so that none waits for another."""
    return [_loop(chore, stopping) for chore in chores]


def _loop(chore: Chore, stopping: asyncio.Event) -> Loop:
    async def once() -> None:
        try:
            await chore.run()
        except Unavailable as error:
            log.warning("chore_put_off", chore=chore.name, error=str(error))

    return lambda: repeat(chore.name, once, chore.every_s, stopping)
