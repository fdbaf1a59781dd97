"""Reading of several parts by concurrent readers, with the chunks returned in the order of the parts."""

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from typing import NamedTuple, Protocol, TypeVar

from service.stopping import run_all

PartT = TypeVar("PartT")
PartT_contra = TypeVar("PartT_contra", contravariant=True)
ChunkT = TypeVar("ChunkT")
ChunkT_co = TypeVar("ChunkT_co", covariant=True)


class PartReader(Protocol[PartT_contra, ChunkT_co]):
    """Reads one part at a time."""

    async def read(self, part: PartT_contra, put: Callable[[ChunkT_co], Awaitable[None]], /) -> int:
        """Pass the chunks of a part to `put`, and return the number of rows."""


class _PartEnd(NamedTuple):
    """Follows the last chunk of a part in the queue."""

    rows: int


async def read_in_order(
    readers: Sequence[PartReader[PartT, ChunkT]],
    parts: Sequence[PartT],
    write: Callable[[ChunkT], Awaitable[None]],
    count_rows: Callable[[int], None],
    buffered_chunks: int,
) -> None:
    """Pass each chunk of each part to `write`, and the number of rows of a part to `count_rows` after its last chunk.

    Each reader reads every n-th part and buffers at most `buffered_chunks` chunks. Raises the first error of a reader
    or of `write`.
    """
    queues: list[asyncio.Queue[ChunkT | _PartEnd]] = [asyncio.Queue(buffered_chunks) for _ in readers]

    async def write_parts() -> None:
        for index in range(len(parts)):
            while not isinstance(chunk := await queues[index % len(queues)].get(), _PartEnd):
                await write(chunk)
            count_rows(chunk.rows)

    shares = [
        _read_share(reader, parts[index :: len(readers)], queue)
        for index, (reader, queue) in enumerate(zip(readers, queues, strict=True))
    ]
    await run_all([*shares, write_parts()])


async def _read_share(
    reader: PartReader[PartT, ChunkT], parts: Sequence[PartT], queue: "asyncio.Queue[ChunkT | _PartEnd]"
) -> None:
    for part in parts:
        await queue.put(_PartEnd(await reader.read(part, queue.put)))
