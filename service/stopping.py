"""The stop signals of a process, and waits that end when the process must stop."""

import asyncio
import signal
from collections.abc import Awaitable, Callable
from types import FrameType
from typing import Any, Final

_CANCEL_INTERVAL_S: Final = 5.0  # longer than the cleanup of a task takes

STOP_SIGNALS: Final = (signal.SIGTERM, signal.SIGINT)

SignalHandler = Callable[[int, FrameType | None], Any] | signal.Handlers


class Stopped(Exception):
    """The process must stop, and the work has not succeeded yet."""


def stop_on_signals(*, end_on_second: bool = False) -> asyncio.Event:
    """Return an event that SIGTERM and SIGINT set in the running event loop.

    With `end_on_second`, the same signal sent again ends the process immediately, without a drain.
    """
    stopping = asyncio.Event()
    loop = asyncio.get_running_loop()

    def stop(number: signal.Signals) -> None:
        stopping.set()
        if end_on_second:
            loop.remove_signal_handler(number)

    for number in STOP_SIGNALS:
        loop.add_signal_handler(number, stop, number)
    return stopping


def set_stop_handler(handler: SignalHandler, *further: signal.Signals) -> None:
    """Install a handler for the stop signals and `further` signals, in a process without an event loop.

    The background jobs of a shell start with SIGINT ignored, so the default handler isn't sufficient.
    """
    for number in (*STOP_SIGNALS, *further):
        signal.signal(number, handler)


async def pause(seconds: float, *events: asyncio.Event) -> None:
    """Wait until one of the events (at least one) is set, at most `seconds`."""
    tasks = [asyncio.create_task(event.wait()) for event in events]
    try:
        await asyncio.wait(tasks, timeout=seconds, return_when=asyncio.FIRST_COMPLETED)
    finally:
        for task in tasks:
            task.cancel()


async def run_until_stopped(stopping: asyncio.Event, work: Awaitable[object]) -> None:
    """Wait for the work to finish, or cancel it as soon as `stopping` is set. Raises the error of the work."""
    task, stop = asyncio.ensure_future(work), asyncio.create_task(stopping.wait())
    try:
        await asyncio.wait({task, stop}, return_when=asyncio.FIRST_COMPLETED)
    finally:
        stop.cancel()
        await cancel_until_done(task)
    if not task.cancelled():
        task.result()


async def cancel_until_done(task: "asyncio.Future[Any]") -> None:
    """Cancel the task until it is done.

    A task can lose a cancellation: if PostgreSQL stops at the same time, the cleanup of a query raises an error that
    the task handles like any other outage.
    """
    while not task.done():
        task.cancel()
        await asyncio.wait({task}, timeout=_CANCEL_INTERVAL_S)


def raise_if_canceled() -> None:
    """Raise CancelledError if the current task was canceled. For tasks that retry after the error of a cleanup."""
    task = asyncio.current_task()
    if task is not None and task.cancelling():
        raise asyncio.CancelledError
