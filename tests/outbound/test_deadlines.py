"""Deadlines that share one timer."""

import asyncio

import pytest

from service.outbound.deadlines import Deadlines

SHORT_S = 0.01
ENDLESS_S = 3600.0


async def wait_until_ended(deadlines: Deadlines, name: str, ended: list[str]) -> None:
    try:
        with deadlines.start():
            await asyncio.Event().wait()
    except TimeoutError:
        ended.append(name)


async def test_deadlines_end_in_the_order_of_their_starts() -> None:
    deadlines, ended = Deadlines(SHORT_S), list[str]()
    async with asyncio.TaskGroup() as group:
        for name in "abc":
            group.create_task(wait_until_ended(deadlines, name, ended))
            await asyncio.sleep(SHORT_S / 4)
    assert ended == ["a", "b", "c"]


async def test_a_deadline_ends_after_one_that_was_not_needed() -> None:
    deadlines, ended = Deadlines(SHORT_S), list[str]()
    with deadlines.start():
        await asyncio.sleep(0)
    await wait_until_ended(deadlines, "second", ended)
    await wait_until_ended(deadlines, "third", ended)
    assert ended == ["second", "third"]


async def test_a_task_continues_after_its_deadline() -> None:
    task = asyncio.current_task()
    assert task
    with pytest.raises(TimeoutError), Deadlines(SHORT_S).start():
        await asyncio.Event().wait()
    assert task.cancelling() == 0
    await asyncio.sleep(0)


async def test_a_block_that_ends_in_time_is_not_canceled() -> None:
    deadlines, ended = Deadlines(SHORT_S), list[str]()
    with deadlines.start():
        await asyncio.sleep(0)
    await wait_until_ended(deadlines, "another", ended)  # the deadline of the first block is over as well
    assert ended == ["another"]


async def test_a_canceled_task_does_not_raise_timeout_error() -> None:
    ended: list[str] = []
    task = asyncio.create_task(wait_until_ended(Deadlines(ENDLESS_S), "canceled", ended))
    await asyncio.sleep(0)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert ended == []


async def test_a_cancellation_is_not_lost_if_the_deadline_ends_as_well() -> None:
    started = asyncio.Event()

    async def cancel_itself() -> None:
        with Deadlines(SHORT_S).start():
            started.set()
            try:
                await asyncio.Event().wait()
            except asyncio.CancelledError:  # from the deadline
                task.cancel()
                raise

    task = asyncio.create_task(cancel_itself())
    await started.wait()
    with pytest.raises(asyncio.CancelledError):
        await task
