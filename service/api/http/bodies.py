"""Reading of request bodies. A body that ends early or arrives too slowly is reported as an error of the client."""

import asyncio
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Final

from aiohttp import web

from service.domain.errors import InvalidRequest, TooLarge

_READ_TIMEOUT_S: Final = 60.0
_MIN_BYTES_PER_S: Final = 4 * 2**10  # a byte a minute would otherwise keep the 8 MiB of an upload in memory
_CHUNK_BYTES: Final = 256 * 2**10


class BodyTimer:
    """The time that a client has left to send its body: 60 s at first, and more with each received byte.

    A body that arrives at the minimum rate is never too slow. Only waits for the client count.
    """

    def __init__(self) -> None:
        self._left_s = _READ_TIMEOUT_S

    def add_received(self, size: int) -> None:
        """Extend the time, to at most 60 s, after `size` bytes were received."""
        self._left_s = min(_READ_TIMEOUT_S, self._left_s + size / _MIN_BYTES_PER_S)

    @asynccontextmanager
    async def reading(self) -> AsyncIterator[None]:
        """Raise InvalidRequest if the body ends early, or if no time is left while the block waits for its bytes.

        The timeout also covers a malformed chunk: aiohttp doesn't report it but waits for more bytes.
        """
        started = time.monotonic()
        try:
            async with asyncio.timeout(self._left_s):
                yield
        except TimeoutError:
            raise InvalidRequest(
                f"the rest of the request body didn't arrive within {_READ_TIMEOUT_S:g} s,"
                f" or arrived at less than {_MIN_BYTES_PER_S} bytes per second"
            ) from None
        except (web.RequestPayloadError, OSError) as error:
            raise InvalidRequest("the request body is incomplete") from error
        finally:
            self._left_s -= time.monotonic() - started


async def read_body(request: web.Request) -> bytes:
    """Return the complete body. aiohttp limits its size."""
    async with BodyTimer().reading():
        return await request.read()


async def read_small_body(request: web.Request, limit: int) -> bytes:
    """Return the complete body. Raises TooLarge, without reading the rest, if it has more than `limit` bytes."""
    body = bytearray()
    async for chunk in body_chunks(request):
        body += chunk
        if len(body) > limit:
            raise TooLarge(f"body: must have at most {limit} bytes")
    return bytes(body)


async def body_chunks(request: web.Request) -> AsyncIterator[bytes]:
    """Yield the body in chunks, without a size limit."""
    timer = BodyTimer()
    while True:
        async with timer.reading():
            chunk = await request.content.read(_CHUNK_BYTES)
        if not chunk:
            return
        timer.add_received(len(chunk))
        yield chunk
