"""Readers work ahead, yet the chunks come in the order of the parts; a failure ends it all and says what it was."""

import asyncio
from collections.abc import Awaitable, Callable, Sequence

import pytest

from service.usecases.exports.read_in_order import read_in_order

AHEAD = 6
Put = Callable[[str], Awaitable[None]]


class Reader:
    """Reads the part 3 as the chunks 3.0, 3.1 and 3.2, the quicker the later the part."""

    def __init__(self, failing: int | None = None) -> None:
        self.failing = failing
        self.read_parts: list[int] = []

    async def read(self, part: int, put: Put, /) -> int:
        self.read_parts.append(part)
        if part == self.failing:
            raise ValueError(part)
        for nth in range(3):
            await asyncio.sleep(0.002 / (part + 1))
            await put(f"{part}.{nth}")
        return 3


async def read(readers: Sequence[Reader], parts: Sequence[int]) -> tuple[int, list[str]]:
    taken: list[str] = []
    counted: list[int] = []

    async def take(chunk: str) -> None:
        taken.append(chunk)

    def count(rows: int) -> None:
        assert taken[-1] == f"{parts[len(counted)]}.{rows - 1}"
        counted.append(rows)

    await read_in_order(readers, parts, take, count, AHEAD)
    return sum(counted), taken


@pytest.mark.parametrize("readers", [1, 2, 3, 8])
async def test_chunks_come_in_the_order_of_the_parts(readers: int) -> None:
    rows, taken = await read([Reader() for _ in range(readers)], range(7))
    assert taken == [f"{part}.{nth}" for part in range(7) for nth in range(3)]
    assert rows == 21


async def test_a_reader_works_ahead_but_waits_where_its_chunks_pile_up() -> None:
    readers, gate = [Reader(), Reader()], asyncio.Event()

    async def take(_: str) -> None:
        await gate.wait()

    counted: list[int] = []
    reading = asyncio.create_task(read_in_order(readers, range(100), take, counted.append, AHEAD))
    await asyncio.sleep(0.1)
    assert readers[1].read_parts
    assert max(part for reader in readers for part in reader.read_parts) < 10
    gate.set()
    await reading
    assert sum(counted) == 300


async def test_a_failure_of_a_reader_is_raised_as_it_is() -> None:
    with pytest.raises(ValueError, match="3"):
        await read([Reader(failing=3), Reader(failing=3)], range(9))


async def test_a_cancellation_is_one_though_a_reader_fails_over_it() -> None:
    class FailingOver(Reader):
        async def read(self, part: int, put: Put, /) -> int:
            try:
                await asyncio.Event().wait()
            except asyncio.CancelledError:
                raise ValueError(part) from None
            return 0

    reading = asyncio.create_task(read([FailingOver(), Reader()], range(9)))
    await asyncio.sleep(0.01)
    reading.cancel()
    with pytest.raises(asyncio.CancelledError):
        await reading


async def test_a_failure_of_who_takes_ends_the_readers() -> None:
    readers = [Reader(), Reader()]

    async def take(_: str) -> None:
        raise OSError("full")

    with pytest.raises(OSError, match="full"):
        await read_in_order(readers, range(1_000), take, lambda _: None, AHEAD)
    assert len(readers[0].read_parts) < 10
