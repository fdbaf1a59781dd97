"""Loops of consumers in the process of the test."""

import asyncio
from collections.abc import AsyncIterator, Coroutine
from contextlib import asynccontextmanager
from typing import Any

PATIENCE_S = 30


@asynccontextmanager
async def running(stopping: asyncio.Event, *loops: Coroutine[Any, Any, None]) -> AsyncIterator[None]:
    """They run while the block does and are stopped as SIGTERM stops them: with what is under way finished."""
    work = asyncio.gather(*loops)
    try:
        yield
    finally:
        stopping.set()
        await asyncio.wait_for(work, PATIENCE_S)
