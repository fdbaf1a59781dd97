"""Chores beside others in one process: none ends it, none delays its stop."""

import asyncio
import time

from consumers.upkeep import Chore, chore_loops
from tests.running import running


async def keep_up(chores: list[Chore], stopping: asyncio.Event) -> None:
    await asyncio.gather(*(loop() for loop in chore_loops(chores, stopping)))


async def test_a_chore_that_fails_is_tried_again_and_the_others_go_on() -> None:
    tries = 0
    tried, other = asyncio.Event(), asyncio.Event()

    async def fail() -> None:
        nonlocal tries
        tries += 1
        if tries == 2:
            tried.set()
        raise KeyError("a bug")

    async def succeed() -> None:
        if tried.is_set():
            other.set()

    stopping = asyncio.Event()
    async with running(stopping, keep_up([Chore("fails", 0.01, fail), Chore("succeeds", 0.01, succeed)], stopping)):
        await asyncio.wait_for(other.wait(), 10)


async def test_a_long_chore_is_cut_off_by_a_stop() -> None:
    begun, ended = asyncio.Event(), asyncio.Event()

    async def take_long() -> None:
        begun.set()
        try:
            await asyncio.sleep(3600)
        finally:
            ended.set()

    stopping = asyncio.Event()
    async with running(stopping, keep_up([Chore("long", 0.01, take_long)], stopping)):
        await begun.wait()
        stopped = time.monotonic()
    assert ended.is_set()
    assert time.monotonic() - stopped < 5
