"""The stop signals of a process, and waits that end when the process must stop."""

import asyncio
import signal
from collections.abc import Awaitable, Callable, Collection, Coroutine, Iterable
from types import FrameType
from typing import Any, Final, TypeVar

T = TypeVar("T")

_CANCEL_INTERVAL_S: Final = 5.0  # longer than the cleanup of a task takes
_TERMINATE_S: Final = 9.0  # after the first cancellation; a driver terminates a connection 5 s after its cancellation
_ABANDON_S: Final = 18.0

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
        await end_tasks([stop, task])
    if task.done() and not task.cancelled():
        task.result()


async def run_all(
    works: Iterable[Coroutine[Any, Any, object]],
    terminate: Callable[[], object] | None = None,
    guard: Coroutine[Any, Any, object] | None = None,
) -> None:
    """Run the works concurrently until all have returned. The first error ends the others and is raised.

    A TaskGroup would cancel the others once and then wait without a limit. `terminate` is that of `end_tasks`. `guard`
    runs as long as the works, and can also raise an error.
    """
    tasks = [asyncio.create_task(work) for work in works]
    guards = [asyncio.create_task(guard)] if guard else []
    failed: list[asyncio.Task[object]] = []
    try:
        while not failed and (pending := [task for task in tasks if not task.done()]):
            guarding = [task for task in guards if not task.done()]
            await asyncio.wait([*pending, *guarding], return_when=asyncio.FIRST_COMPLETED)
            failed = [task for task in (*tasks, *guards) if has_failed(task)]
    finally:
        await end_tasks([*tasks, *guards], terminate)
    for task in failed:
        task.result()


async def within(
    limit_s: float, work: Awaitable[T], terminate: Callable[[], object],
    has_progressed: Callable[[], bool] = lambda: False,
) -> T:  # fmt: skip
    """Return the result of work that waits for a peer. After the limit, `terminate` closes the connection.

    Raises TimeoutError then. If `has_progressed`, which is called after each limit, returns True, another limit starts.
    `asyncio.timeout` would cancel the work once and then wait without a limit.
    """
    task = asyncio.ensure_future(work)
    try:
        await asyncio.wait({task}, timeout=limit_s)
        while not task.done() and has_progressed():
            await asyncio.wait({task}, timeout=limit_s)
        if not task.done():
            terminate()
            raise TimeoutError(f"no response within {limit_s:g} s")
    finally:
        await end_tasks([task], terminate)
    return task.result()


async def end_tasks(tasks: Iterable["asyncio.Future[Any]"], terminate: Callable[[], object] | None = None) -> None:
    """Cancel the tasks until they are done. Call `terminate`, which closes their connections, if they take too long.

    A task can lose a cancellation: if PostgreSQL stops at the same time, the cleanup of a query raises an error that
    the task handles like any other outage. The cleanup can also wait for a peer that never responds. A task that
    doesn't end even then is reported to the event loop and left alone. A cancellation of the caller is raised at the
    end.
    """
    canceled = unfinished = {task for task in tasks if not task.done()}
    now_s = asyncio.get_running_loop().time
    terminate_at, abandon_at = now_s() + _TERMINATE_S, now_s() + _ABANDON_S
    interruption: asyncio.CancelledError | None = None
    while unfinished and now_s() < abandon_at:
        if terminate is not None and now_s() >= terminate_at:
            terminate()
        try:
            await _cancel(unfinished)
        except asyncio.CancelledError as error:
            interruption = error
        unfinished = {task for task in unfinished if not task.done()}
    for task in canceled - unfinished:
        has_failed(task)
    for task in unfinished:
        task.get_loop().call_exception_handler({"message": "A canceled task didn't end", "future": task})
    if interruption is not None:
        raise interruption


async def _cancel(tasks: Collection["asyncio.Future[Any]"]) -> None:
    """Cancel the tasks, and wait a short time for their end."""
    for task in tasks:
        task.cancel()
    await asyncio.wait(tasks, timeout=_CANCEL_INTERVAL_S)


def has_failed(task: "asyncio.Future[Any]") -> bool:
    """Return whether a task has ended with an error. The event loop then doesn't report this error."""
    return task.done() and not task.cancelled() and task.exception() is not None


def raise_if_canceled() -> None:
    """Raise CancelledError if the current task was canceled. For tasks that retry after the error of a cleanup."""
    task = asyncio.current_task()
    if task is not None and task.cancelling():
        raise asyncio.CancelledError
