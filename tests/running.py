"""Loops of consumers that run in the process of a test."""

import asyncio
from collections.abc import AsyncIterator, Coroutine
from contextlib import asynccontextmanager
from typing import Any

TIMEOUT_S = 30


@asynccontextmanager
async def running(stopping: asyncio.Event, *loops: Coroutine[Any, Any, None]) -> AsyncIterator[None]:
    """Run the loops while the block runs, then stop them as SIGTERM does: work in progress finishes."""
    work = asyncio.gather(*loops)
    try:
        yield
    finally:
        stopping.set()
        await asyncio.wait_for(work, TIMEOUT_S)
