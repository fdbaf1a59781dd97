"""Measure how long the event loop of a test is busy without a pause."""

import asyncio
import gc
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Final

_MAX_SHARE: Final = 0.1


@asynccontextmanager
async def short_steps() -> AsyncIterator[None]:
    """Fail if one iteration of the event loop takes a tenth of the CPU time of the block or more.

    A share, unlike a time, is the same on a slow machine. Garbage collections are not measured.
    """
    steps_s: list[float] = []

    async def measure() -> None:
        while True:
            started_s = time.thread_time()
            await asyncio.sleep(0)
            steps_s.append(time.thread_time() - started_s)

    gc.disable()
    measuring = asyncio.create_task(measure())
    try:
        yield
    finally:
        measuring.cancel()
        gc.enable()
    assert max(steps_s) < _MAX_SHARE * sum(steps_s)
