"""Loops that a consumer runs until it must stop. They continue after an outage of the database."""

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from contextlib import suppress
from typing import Final

from service.domain.backoff import Backoff
from service.domain.ids import OrgId
from service.retries import with_retries
from service.stopping import Stopped, end_tasks, pause, run_all
from service.store.postgres.database import Connection, Pool, is_lost
from service.store.postgres.notifications import listening
from service.store.postgres.retries import is_temporary
from service.usecases.database_errors import log_temporary

LONGEST_DELAY_S: Final = 15.0
_DRAIN_S: Final = 17.0  # longer than a webhook request
_POLL_S: Final = 1.0  # notifications are lost with their connection, and some work becomes due by time

Loop = Callable[[], Awaitable[None]]  # returns when the process must stop
Notified = Callable[[set[OrgId]], None]  # the organizations to which a notification applies; none: any organization
Step = Callable[[Connection], Awaitable[bool]]  # returns whether more work is due immediately


async def run_until_drained(loops: Sequence[Loop], stopping: asyncio.Event, terminate: Callable[[], object]) -> None:
    """Run the loops until all have returned. The first error ends the other loops.

    Loops that wait for a server that doesn't respond end some time after the stop signal.
    """
    running = asyncio.create_task(run_all([_run_one(loop) for loop in loops], terminate))
    stop = asyncio.create_task(stopping.wait())
    try:
        await asyncio.wait({running, stop}, return_when=asyncio.FIRST_COMPLETED)
        await asyncio.wait({running}, timeout=_DRAIN_S)
    finally:
        await end_tasks([running, stop], terminate)
    if running.done() and not running.cancelled():
        running.result()


async def _run_one(loop: Loop) -> None:
    await loop()


async def retry_on_outage(name: str, work: Callable[[], Awaitable[None]], stopping: asyncio.Event) -> None:
    """Run the work until it returns or the process must stop. Retry after database outages and conflicts."""

    def log_retry(error: Exception, delay_s: float) -> None:
        log_temporary(error, work=name, delay_s=round(delay_s, 1))

    if not stopping.is_set():
        with suppress(Stopped):
            await with_retries(work, is_temporary, Backoff(0.2, LONGEST_DELAY_S), stopping, log_retry)


async def repeat(
    name: str, step: Callable[[], Awaitable[None]], every_s: float, stopping: asyncio.Event, *wakes: asyncio.Event
) -> None:
    """Run a step every `every_s` seconds, and immediately when one of `wakes` is set."""
    while not stopping.is_set():
        for wake in wakes:
            wake.clear()
        await retry_on_outage(name, step, stopping)
        await pause(every_s, stopping, *wakes)


async def repeat_on_notifications(
    name: str, pool: Pool, channel: str, step: Step, stopping: asyncio.Event, notified: Notified | None = None
) -> None:
    """Run a step after each notification on the channel, and once per second.

    The step gets the connection that listens. With `notified`, a notification calls `notified` instead of the step.
    """
    wake = asyncio.Event()

    async def listen() -> None:
        async with pool.acquire() as connection, listening(connection, channel, notified or (lambda _: wake.set())):
            while not stopping.is_set() and not is_lost(connection):
                wake.clear()
                if not await step(connection):
                    await pause(_POLL_S, wake, stopping)
        if not stopping.is_set():
            raise ConnectionResetError("the listening connection was lost")

    await retry_on_outage(name, listen, stopping)
