"""Several readers work ahead on the parts of something long, whose chunks still come out in the order of the parts."""

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from typing import NamedTuple, Protocol, TypeVar

Part = TypeVar("Part")
PartIn = TypeVar("PartIn", contravariant=True)
Chunk = TypeVar("Chunk")
ChunkOut = TypeVar("ChunkOut", covariant=True)


class Reader(Protocol[PartIn, ChunkOut]):
    """Reads one part at a time."""

    async def read(self, part: PartIn, put: Callable[[ChunkOut], Awaitable[None]], /) -> int:
        """Puts the chunks of a part, and returns how many rows they hold."""


class _PartEnd(NamedTuple):
    """Follows the last chunk of a part."""

    rows: int


async def read_in_order(
    readers: Sequence[Reader[Part, Chunk]],
    parts: Sequence[Part],
    take: Callable[[Chunk], Awaitable[None]],
    count: Callable[[int], None],
    ahead: int,
) -> None:
    """Takes every chunk of every part, and counts the rows of a part after its last one. What fails first ends it all.

    A reader may have `ahead` chunks waiting.
    """
    queues: list[asyncio.Queue[Chunk | _PartEnd]] = [asyncio.Queue(ahead) for _ in readers]
    try:
        async with asyncio.TaskGroup() as reading:
            for nth, (reader, queue) in enumerate(zip(readers, queues, strict=True)):
                reading.create_task(_read_share(reader, parts[nth :: len(readers)], queue))
            for nth in range(len(parts)):
                while not isinstance(chunk := await queues[nth % len(queues)].get(), _PartEnd):
                    await take(chunk)
                count(chunk.rows)
    except ExceptionGroup as failures:
        if (caller := asyncio.current_task()) and caller.cancelling():  # which Python 3.11 forgets beside a failure
            raise asyncio.CancelledError from None
        raise failures.exceptions[0] from None


async def _read_share(
    reader: Reader[Part, Chunk], parts: Sequence[Part], queue: "asyncio.Queue[Chunk | _PartEnd]"
) -> None:
    for part in parts:
        await queue.put(_PartEnd(await reader.read(part, queue.put)))
