"""Several readers work ahead on the parts of something long, whose chunks still come out in the order of the parts."""

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from typing import Protocol, TypeVar

Part = TypeVar("Part")
PartIn = TypeVar("PartIn", contravariant=True)
Chunk = TypeVar("Chunk")
ChunkOut = TypeVar("ChunkOut", covariant=True)


class Reader(Protocol[PartIn, ChunkOut]):
    """Reads one part at a time."""

    async def read(self, part: PartIn, put: Callable[[ChunkOut], Awaitable[None]], /) -> int:
        """Puts the chunks of a part, and returns how many rows they hold."""


async def read_in_order(
    readers: Sequence[Reader[Part, Chunk]],
    parts: Sequence[Part],
    take: Callable[[Chunk], Awaitable[None]],
    ahead: int,
) -> int:
    """Takes every chunk of every part, and returns how many rows there were. Whatever fails first ends it all.

    A reader may have `ahead` chunks waiting.
    """
    queues: list[asyncio.Queue[Chunk | None]] = [asyncio.Queue(ahead) for _ in readers]
    try:
        async with asyncio.TaskGroup() as reading:
            shares = [
                reading.create_task(_read_share(reader, parts[nth :: len(readers)], queue))
                for nth, (reader, queue) in enumerate(zip(readers, queues, strict=True))
            ]
            for nth in range(len(parts)):
                while (chunk := await queues[nth % len(queues)].get()) is not None:
                    await take(chunk)
    except ExceptionGroup as failures:
        if (caller := asyncio.current_task()) and caller.cancelling():  # which Python 3.11 forgets beside a failure
            raise asyncio.CancelledError from None
        raise failures.exceptions[0] from None
    return sum(share.result() for share in shares)


async def _read_share(reader: Reader[Part, Chunk], parts: Sequence[Part], queue: "asyncio.Queue[Chunk | None]") -> int:
    rows = 0
    for part in parts:
        rows += await reader.read(part, queue.put)
        await queue.put(None)  # the end of the part
    return rows
