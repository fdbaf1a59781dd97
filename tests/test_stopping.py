"""Tests of waits that end when the process must stop, and of the stop signals."""

import asyncio
import contextlib
import os
import signal
import subprocess
import sys
import time

import pytest

from service import stopping as stopping_module
from service.stopping import end_tasks, pause, run_all, run_until_stopped, stop_on_signals, within

STOP_TWICE = """
import asyncio, os, signal, sys
from service.stopping import stop_on_signals

async def main():
    stopping = stop_on_signals(end_on_second=sys.argv[1] == "True")
    for _ in range(2):
        os.kill(os.getpid(), signal.SIGTERM)
        await stopping.wait()
        await asyncio.sleep(0.1)

asyncio.run(main())
"""


async def test_pause_ends_when_an_event_is_set() -> None:
    first, second = asyncio.Event(), asyncio.Event()
    second.set()
    started = time.monotonic()
    await pause(60, first, second)
    assert time.monotonic() - started < 5


async def test_pause_leaks_no_task() -> None:
    before = asyncio.all_tasks()
    await pause(0.01, asyncio.Event(), asyncio.Event())
    await asyncio.sleep(0)
    assert asyncio.all_tasks() == before


async def test_work_is_canceled_by_a_stop() -> None:
    stopping, canceled = asyncio.Event(), asyncio.Event()

    async def work() -> None:
        stopping.set()
        try:
            await asyncio.sleep(60)
        finally:
            canceled.set()

    async with asyncio.timeout(5):
        await run_until_stopped(stopping, work())
    assert canceled.is_set()


async def test_work_that_loses_its_cancellation_is_canceled_again(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("service.stopping._CANCEL_INTERVAL_S", 0.05)
    stopping = asyncio.Event()
    canceled = 0

    async def work() -> None:
        nonlocal canceled
        stopping.set()
        while canceled < 3:
            try:
                await asyncio.sleep(60)
            except asyncio.CancelledError:
                canceled += 1

    async with asyncio.timeout(5):
        await run_until_stopped(stopping, work())
    assert canceled == 3


@pytest.fixture
def short_limits(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(stopping_module, "_CANCEL_INTERVAL_S", 0.02)
    monkeypatch.setattr(stopping_module, "_TERMINATE_S", 0.1)
    monkeypatch.setattr(stopping_module, "_ABANDON_S", 0.3)


async def ignore_cancellations(end: asyncio.Event) -> None:
    while not end.is_set():
        with contextlib.suppress(asyncio.CancelledError):
            await end.wait()


@pytest.mark.usefixtures("short_limits")
async def test_connection_of_a_task_that_does_not_end_is_terminated() -> None:
    lost = asyncio.Event()
    task = asyncio.create_task(ignore_cancellations(lost))
    await asyncio.sleep(0)
    await end_tasks([task], lost.set)
    assert lost.is_set()
    assert task.done()


@pytest.mark.usefixtures("short_limits")
async def test_task_that_never_ends_is_reported() -> None:
    end, reported = asyncio.Event(), []
    asyncio.get_running_loop().set_exception_handler(lambda _, context: reported.append(context["message"]))
    task = asyncio.create_task(ignore_cancellations(end))
    await asyncio.sleep(0)
    await end_tasks([task])
    asyncio.get_running_loop().set_exception_handler(None)
    assert reported == ["A canceled task didn't end"]
    end.set()
    await task


@pytest.mark.usefixtures("short_limits")
async def test_cancellation_does_not_end_the_wait_for_tasks() -> None:
    lost = asyncio.Event()
    task = asyncio.create_task(ignore_cancellations(lost))
    ending = asyncio.create_task(end_tasks([task], lost.set))
    await asyncio.sleep(0.01)
    ending.cancel()
    with pytest.raises(asyncio.CancelledError):
        await ending
    assert task.done()


@pytest.mark.usefixtures("short_limits")
async def test_first_error_ends_all_works() -> None:
    lost = asyncio.Event()

    async def fail() -> None:
        raise KeyError("the first error")

    with pytest.raises(KeyError):
        await run_all([ignore_cancellations(lost), fail()], lost.set)
    assert lost.is_set()


async def test_guard_ends_with_the_works() -> None:
    async def work() -> None: ...

    async def fail() -> None:
        raise KeyError("the error of the guard")

    async with asyncio.timeout(5):
        await run_all([work(), work()], guard=asyncio.sleep(60))
        with pytest.raises(KeyError):
            await run_all([asyncio.sleep(60)], guard=fail())


async def test_work_without_a_response_terminates_its_connection() -> None:
    lost = asyncio.Event()

    async def work() -> str:
        await asyncio.sleep(0)
        return "response"

    assert await within(5, work(), lost.set) == "response"
    assert not lost.is_set()
    with pytest.raises(TimeoutError):
        await within(0.01, asyncio.sleep(60), lost.set)
    assert lost.is_set()


async def test_error_of_the_work_is_raised() -> None:
    async def work() -> None:
        raise KeyError("a bug")

    with pytest.raises(KeyError):
        await run_until_stopped(asyncio.Event(), work())


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
async def test_stop_signals_set_the_event(number: signal.Signals) -> None:
    stopping = stop_on_signals()
    try:
        os.kill(os.getpid(), number)
        await asyncio.wait_for(stopping.wait(), 5)
    finally:
        for stop_signal in (signal.SIGTERM, signal.SIGINT):
            asyncio.get_running_loop().remove_signal_handler(stop_signal)


@pytest.mark.parametrize(("end_on_second", "exit_code"), [(True, -signal.SIGTERM), (False, 0)])
def test_second_signal_ends_the_process_only_on_request(*, end_on_second: bool, exit_code: int) -> None:
    done = subprocess.run([sys.executable, "-c", STOP_TWICE, str(end_on_second)], check=False, timeout=30)
    assert done.returncode == exit_code
