"""Tests of waits that end when the process must stop, and of the stop signals."""

import asyncio
import os
import signal
import subprocess
import sys
import time

import pytest

from service.stopping import pause, run_until_stopped, stop_on_signals

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
