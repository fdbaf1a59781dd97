"""The one retry loop of the service. Callers state which errors are retryable, and the delays."""

import asyncio
from collections.abc import Awaitable, Callable, Iterable, Sequence
from typing import TypeVar

from service.progress import report_progress
from service.stopping import Stopped, pause, raise_if_canceled

A = TypeVar("A")
T = TypeVar("T")


async def with_retries(
    work: Callable[[], Awaitable[T]],
    is_retryable: Callable[[Exception], bool],
    delays_s: Iterable[float],
    stopping: asyncio.Event | None = None,
    on_retry: Callable[[Exception, float], object] = lambda _error, _delay_s: None,
) -> T:
    """Run the work until it succeeds, and return its result.

    Before each retry, `on_retry` gets the error and the delay in seconds. Raises the error of the work if it isn't
    retryable or if there are no delays left, and Stopped if `stopping` is set during a delay.

    The start and the end of each attempt are progress of the current task.
    """
    delays = iter(delays_s)
    while True:
        report_progress()
        try:
            return await work()
        except Exception as error:
            raise_if_canceled()
            report_progress()
            delay_s = next(delays, None) if is_retryable(error) else None
            if delay_s is None:
                raise
            on_retry(error, delay_s)
        if stopping is None:
            await asyncio.sleep(delay_s)
            continue
        await pause(delay_s, stopping)
        if stopping.is_set():
            raise Stopped


async def with_alternatives(
    work: Callable[[A], Awaitable[T]], alternatives: Sequence[A], is_retryable: Callable[[Exception], bool]
) -> T:
    """Run the work with one alternative after the other, such as hosts, until it succeeds. Raises the last error."""
    remaining = iter(alternatives)
    return await with_retries(lambda: work(next(remaining)), is_retryable, [0.0] * (len(alternatives) - 1))
