"""The bytes of a body as they come. What breaks off or falls silent is the client's doing, and is said to be."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Final

from aiohttp import web

from service.domain.errors import InvalidRequest

_PATIENCE_S: Final = 60.0
_CHUNK_BYTES: Final = 256 * 2**10


@asynccontextmanager
async def body_errors() -> AsyncIterator[None]:
    """Around whatever waits for bytes of a body. Raises InvalidRequest where it ends early, or they take over a minute.

    aiohttp does not say either of chunks that can't be read: it waits for better ones.
    """
    try:
        async with asyncio.timeout(_PATIENCE_S):
            yield
    except TimeoutError:
        raise InvalidRequest(f"what is missing of the body did not come within {_PATIENCE_S:g} s") from None
    except (web.RequestPayloadError, OSError) as error:
        raise InvalidRequest("the body ended early") from error


async def read_body(request: web.Request) -> bytes:
    """The body; it is small, or aiohttp has refused it already."""
    async with body_errors():
        return await request.read()


async def body_chunks(request: web.Request) -> AsyncIterator[bytes]:
    """The body, piece by piece, however large."""
    while True:
        async with body_errors():
            piece = await request.content.read(_CHUNK_BYTES)
        if not piece:
            return
        yield piece
