"""Things that a consumer does again and again until it is told to stop."""

import asyncio
from collections.abc import Awaitable, Callable
from typing import Final

from service.domain.backoff import backoff_delays
from service.log import log
from service.store.postgres.database import is_conflict, is_outage

_LONGEST_WAIT_S: Final = 15.0

Loop = Callable[[], Awaitable[None]]  # returns when its process is told to stop


async def pause(seconds: float, *events: asyncio.Event) -> None:
    """Until one of the events is set, at most so long."""
    tasks = [asyncio.create_task(event.wait()) for event in events]
    try:
        await asyncio.wait(tasks, timeout=seconds, return_when=asyncio.FIRST_COMPLETED)
    finally:
        for task in tasks:
            task.cancel()


async def run_until_stopped(stopping: asyncio.Event, work: Awaitable[object]) -> None:
    """Does the work to its end, or cancels it where we are to stop first."""
    working, ordered = asyncio.ensure_future(work), asyncio.create_task(stopping.wait())
    try:
        await asyncio.wait({working, ordered}, return_when=asyncio.FIRST_COMPLETED)
    finally:
        ordered.cancel()
        working.cancel()
        await asyncio.wait({working})
    if not working.cancelled():
        working.result()


async def retry_on_outage(name: str, work: Callable[[], Awaitable[None]], stopping: asyncio.Event) -> None:
    """Until `work` returns or we are to stop. It starts over after an outage of the store, or if others hold it up."""
    pauses = backoff_delays(0.2, _LONGEST_WAIT_S)
    while not stopping.is_set():
        try:
            await work()
        except Exception as error:
            wait_s = next(pauses)
            logged = log.bind(work=name, wait_s=round(wait_s, 1), error=repr(error))
            if is_outage(error):
                logged.warning("store_unreachable")
            elif is_conflict(error):
                logged.warning("store_held_up")
            else:
                raise
            await pause(wait_s, stopping)
        else:
            return


async def repeat(
    name: str, step: Callable[[], Awaitable[None]], every_s: float, stopping: asyncio.Event, *wakes: asyncio.Event
) -> None:
    """Does a step again and again: after so many seconds, or at once when one of `wakes` is set."""
    while not stopping.is_set():
        for wake in wakes:
            wake.clear()
        await retry_on_outage(name, step, stopping)
        await pause(every_s, stopping, *wakes)
