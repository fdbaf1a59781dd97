"""Loops that a consumer runs until it must stop. They continue after an outage of the database."""

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from contextlib import suppress
from functools import partial
from typing import Final, NamedTuple

from consumers.metrics import TASK_FAILURES
from service.database.database import Connection, Pool, is_lost
from service.database.errors import is_conflict, is_outage
from service.database.notifications import listening
from service.database.transactions import is_temporary
from service.domain.backoff import Backoff
from service.domain.errors import Unavailable
from service.domain.ids import OrgId
from service.log import log
from service.retries import with_retries
from service.stopping import Stopped, end_tasks, pause, run_all, run_until_stopped
from service.tasks.leases import log_temporary

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
