"""A claim is kept by beats that go on whatever happens, until the work is over or somebody else has it."""

import asyncio

import pytest

from service.usecases.leases import ClaimLost, keeping

EVERY_S = 0.01


async def test_work_whose_claim_is_lost_ends_in_the_middle() -> None:
    beats = iter([True, True, False])

    async def beat() -> bool:
        return next(beats)

    with pytest.raises(ClaimLost):
        async with keeping(beat, EVERY_S):
            await asyncio.sleep(60)
    assert list(beats) == []


async def test_a_beat_that_fails_is_followed_by_another() -> None:
    beaten = asyncio.Event()

    async def beat() -> bool:
        if beaten.is_set():
            return True
        beaten.set()
        raise ConnectionResetError

    async with keeping(beat, EVERY_S):
        await asyncio.wait_for(beaten.wait(), 5)
        beaten.clear()
        await asyncio.wait_for(beaten.wait(), 5)


async def test_nothing_beats_once_the_work_is_over() -> None:
    beats = 0

    async def beat() -> bool:
        nonlocal beats
        beats += 1
        return True

    async with keeping(beat, EVERY_S):
        pass
    await asyncio.sleep(5 * EVERY_S)
    assert beats == 0


async def test_a_stop_is_no_lost_claim() -> None:
    async def beat() -> bool:
        return True

    async def work() -> None:
        async with keeping(beat, EVERY_S):
            await asyncio.sleep(60)

    working = asyncio.create_task(work())
    await asyncio.sleep(5 * EVERY_S)
    working.cancel()
    with pytest.raises(asyncio.CancelledError):
        await working
