"""Concurrent readers: chunks stay in the order of the parts, and the first error stops all readers."""

import asyncio
from collections.abc import Awaitable, Callable, Sequence

import pytest

from service.exports.write_export import read_in_order

BUFFERED_CHUNKS = 6
Put = Callable[[str], Awaitable[None]]


class Reader:
    """Reads part 3 as the chunks 3.0, 3.1, and 3.2. Later parts are faster."""

    def __init__(self, failing: int | None = None) -> None:
        self.failing = failing
        self.read_parts: list[int] = []

    async def read(self, part: int, put: Put, /) -> int:
        self.read_parts.append(part)
        if part == self.failing:
            raise ValueError(part)
        for index in range(3):
            await asyncio.sleep(0.002 / (part + 1))
            await put(f"{part}.{index}")
        return 3


async def read(readers: Sequence[Reader], parts: Sequence[int]) -> tuple[int, list[str]]:
    chunks: list[str] = []
    row_counts: list[int] = []

    async def write(chunk: str) -> None:
        chunks.append(chunk)

    def count(rows: int) -> None:
        assert chunks[-1] == f"{parts[len(row_counts)]}.{rows - 1}"
        row_counts.append(rows)

    await read_in_order(readers, parts, write, count, BUFFERED_CHUNKS)
    return sum(row_counts), chunks


@pytest.mark.parametrize("readers", [1, 2, 3, 8])
async def test_chunks_are_in_the_order_of_the_parts(readers: int) -> None:
    rows, chunks = await read([Reader() for _ in range(readers)], range(7))
    assert chunks == [f"{part}.{index}" for part in range(7) for index in range(3)]
    assert rows == 21


async def test_reader_works_ahead_until_its_buffer_is_full() -> None:
    readers, gate = [Reader(), Reader()], asyncio.Event()

    async def write(_: str) -> None:
        await gate.wait()

    row_counts: list[int] = []
    reading = asyncio.create_task(read_in_order(readers, range(100), write, row_counts.append, BUFFERED_CHUNKS))
    await asyncio.sleep(0.1)
    assert readers[1].read_parts
    assert max(part for reader in readers for part in reader.read_parts) < 10
    gate.set()
    await reading
    assert sum(row_counts) == 300


async def test_reader_error_is_raised_unchanged() -> None:
    with pytest.raises(ValueError, match="3"):
        await read([Reader(failing=3), Reader(failing=3)], range(9))


async def test_cancellation_wins_over_a_reader_error() -> None:
    class FailingOnCancellation(Reader):
        async def read(self, part: int, put: Put, /) -> int:
            try:
                await asyncio.Event().wait()
            except asyncio.CancelledError:
                raise ValueError(part) from None
            return 0

    reading = asyncio.create_task(read([FailingOnCancellation(), Reader()], range(9)))
    await asyncio.sleep(0.01)
    reading.cancel()
    with pytest.raises(asyncio.CancelledError):
        await reading


async def test_write_error_stops_the_readers() -> None:
    readers = [Reader(), Reader()]

    async def write(_: str) -> None:
        raise OSError("full")

    with pytest.raises(OSError, match="full"):
        await read_in_order(readers, range(1_000), write, lambda _: None, BUFFERED_CHUNKS)
    assert len(readers[0].read_parts) < 10
