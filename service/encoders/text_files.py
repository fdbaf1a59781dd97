"""Rows that arrive as text, gathered into chunks that are worth a thread, encoded there and passed on in order."""

import asyncio
from collections.abc import Awaitable, Callable
from typing import Final

from service.encoders.encoding import Encoder

_CHUNK_BYTES: Final = 2**20


class TextFile:
    """A file in the making. While a chunk is encoded, the next rows wait in the socket, and never in memory."""

    def __init__(self, encoder: Encoder, write: Callable[[bytes], Awaitable[None]]) -> None:
        self._encoder = encoder
        self._write = write
        self._gathered = bytearray()
        self.lines = 0  # so far; as many as rows, or more where a text holds line ends

    async def take(self, data: bytes) -> None:
        """The next rows."""
        self._gathered += data
        if len(self._gathered) >= _CHUNK_BYTES:
            await self._pass_on()

    async def finish(self) -> None:
        """Writes what is left."""
        await self._pass_on()
        if ending := self._encoder.finish():
            await self._write(ending)

    async def _pass_on(self) -> None:
        chunk, self._gathered = bytes(self._gathered), bytearray()
        self.lines += chunk.count(b"\n")
        encoded = await asyncio.to_thread(self._encoder.encode, chunk)
        if encoded:
            await self._write(encoded)
