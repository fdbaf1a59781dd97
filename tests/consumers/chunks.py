"""Bytes that arrive from the broker in chunks."""

import asyncio
from collections.abc import Iterable, Iterator


def split(data: bytes, size: int) -> Iterator[bytes]:
    for start in range(0, len(data), size):
        yield data[start : start + size]


async def feed(source: asyncio.StreamReader, chunks: Iterable[bytes]) -> None:
    """Let the reader run after each chunk."""
    for chunk in chunks:
        source.feed_data(chunk)
        await asyncio.sleep(0)
