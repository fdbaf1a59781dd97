"""Reading of request bodies. A body that ends early or stops arriving is reported as an error of the client."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Final

from aiohttp import web

from service.domain.errors import InvalidRequest

_READ_TIMEOUT_S: Final = 60.0
_CHUNK_BYTES: Final = 256 * 2**10


@asynccontextmanager
async def body_errors() -> AsyncIterator[None]:
    """Raise InvalidRequest if the body ends early, or if the block waits for its bytes for over 60 s.

    The timeout also covers a malformed chunk: aiohttp doesn't report it but waits for more bytes.
    """
    try:
        async with asyncio.timeout(_READ_TIMEOUT_S):
            yield
    except TimeoutError:
        raise InvalidRequest(f"the rest of the request body didn't arrive within {_READ_TIMEOUT_S:g} s") from None
    except (web.RequestPayloadError, OSError) as error:
        raise InvalidRequest("the request body is incomplete") from error


async def read_body(request: web.Request) -> bytes:
    """Return the complete body. aiohttp limits its size."""
    async with body_errors():
        return await request.read()


async def body_chunks(request: web.Request) -> AsyncIterator[bytes]:
    """Yield the body in chunks, without a size limit."""
    while True:
        async with body_errors():
            chunk = await request.content.read(_CHUNK_BYTES)
        if not chunk:
            return
        yield chunk
