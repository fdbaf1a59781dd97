"""Tests of the retry loop: retryable errors, the number of attempts, and the end of a delay."""

import asyncio
import time
from itertools import repeat

import pytest

from service.progress import observing_progress
from service.retries import with_alternatives, with_retries
from service.stopping import Stopped


class FailingWork:
    """Work that raises an error in its first `failures` attempts."""

    def __init__(self, failures: int, error: Exception) -> None:
        self.attempt_count = 0
        self._failures = failures
        self._error = error

    async def __call__(self) -> str:
        self.attempt_count += 1
        if self.attempt_count <= self._failures:
            raise self._error
        return "result"


def is_os_error(error: Exception) -> bool:
    return isinstance(error, OSError)


async def test_work_is_retried_until_it_succeeds() -> None:
    retries: list[tuple[str, float]] = []
    work = FailingWork(2, OSError("down"))
    result = await with_retries(
        work, is_os_error, [0.01, 0.02, 0.03], on_retry=lambda error, delay_s: retries.append((str(error), delay_s))
    )
    assert result == "result"
    assert retries == [("down", 0.01), ("down", 0.02)]


async def test_error_that_is_not_retryable_is_raised_immediately() -> None:
    work = FailingWork(1, KeyError("a bug"))
    with pytest.raises(KeyError):
        await with_retries(work, is_os_error, [0.01])
    assert work.attempt_count == 1


async def test_last_error_is_raised_after_the_last_delay() -> None:
    work = FailingWork(10, OSError("down"))
    with pytest.raises(OSError, match="down"):
        await with_retries(work, is_os_error, [0.01, 0.01])
    assert work.attempt_count == 3


async def test_canceled_work_is_not_retried_if_its_cleanup_fails() -> None:
    """The cleanup of a canceled query fails if PostgreSQL stops at the same time."""
    started = asyncio.Event()

    async def work() -> None:
        try:
            started.set()
            await asyncio.sleep(60)
        finally:
            raise OSError("down")

    task = asyncio.create_task(with_retries(work, is_os_error, repeat(0.01)))
    await started.wait()
    task.cancel()
    await asyncio.wait({task}, timeout=10)
    assert task.cancelled()


async def test_stop_ends_a_delay() -> None:
    stopping = asyncio.Event()
    asyncio.get_running_loop().call_later(0.05, stopping.set)
    started = time.monotonic()
    with pytest.raises(Stopped):
        await with_retries(FailingWork(1, OSError("down")), is_os_error, repeat(60.0), stopping)
    assert time.monotonic() - started < 5


async def test_work_that_is_stopped_already_is_attempted_once() -> None:
    stopping = asyncio.Event()
    stopping.set()
    work = FailingWork(1, OSError("down"))
    with pytest.raises(Stopped):
        await with_retries(work, is_os_error, repeat(60.0), stopping)
    assert work.attempt_count == 1


async def test_alternatives_are_used_until_one_succeeds() -> None:
    used = []

    async def work(alternative: int) -> int:
        used.append(alternative)
        if alternative < 2:
            raise OSError(alternative)
        return alternative

    assert await with_alternatives(work, [0, 1, 2, 3], is_os_error) == 2
    assert used == [0, 1, 2]
    with pytest.raises(OSError, match="1"):
        await with_alternatives(work, [0, 1], is_os_error)


async def test_start_and_end_of_each_attempt_are_progress() -> None:
    """The watchdog must not add a delay to the time of a slow attempt."""
    events: list[str] = []

    async def work() -> None:
        events.append("attempt")
        if events.count("attempt") == 1:
            raise OSError

    with observing_progress(lambda: events.append("progress")):
        await with_retries(work, is_os_error, [0.0], on_retry=lambda *_: events.append("delay"))
    assert events == ["progress", "attempt", "progress", "delay", "progress", "attempt"]
