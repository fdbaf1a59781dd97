"""Subscriptions of the consumers of one queue in one process: one while the queue is isolated, all afterwards."""

import asyncio
from contextlib import AsyncExitStack
from typing import Any

from consumers.isolation import Isolation

TIMEOUT_S = 5
LATER_S = 60.0  # after the isolation


class Clock:
    """A clock that a test sets."""

    def __init__(self) -> None:
        self.now_s = 0.0

    def __call__(self) -> float:
        return self.now_s


def new_isolation(clock: Clock) -> Isolation:
    suspects: Any = None  # not used by subscriptions
    return Isolation(suspects, clock)


async def test_all_consumers_subscribe_after_the_first_message() -> None:
    isolation = new_isolation(Clock())
    async with asyncio.timeout(TIMEOUT_S), AsyncExitStack() as first, AsyncExitStack() as second:
        assert await first.enter_async_context(isolation.subscription("events")) is True
        waiting = asyncio.create_task(second.enter_async_context(isolation.subscription("events")))
        await asyncio.sleep(0.3)
        assert not waiting.done()
        isolation.observe(1, suspect=False)
        await first.aclose()
        assert await first.enter_async_context(isolation.subscription("events")) is False
        assert await waiting is False


async def test_isolation_ends_without_another_message() -> None:
    clock = Clock()
    isolation = new_isolation(clock)
    isolation.observe(1, suspect=True)
    async with asyncio.timeout(TIMEOUT_S), isolation.subscription("events") as isolated:
        assert isolated
        ending = asyncio.create_task(isolation.wait_for_end_of_turn("events"))
        await asyncio.sleep(0.3)
        assert not ending.done()
        clock.now_s = LATER_S
        await ending


async def test_isolated_consumer_waits_until_all_others_have_unsubscribed() -> None:
    isolation = new_isolation(Clock())
    isolation.observe(1, suspect=False)
    async with asyncio.timeout(TIMEOUT_S), AsyncExitStack() as normal, AsyncExitStack() as other:
        assert await normal.enter_async_context(isolation.subscription("events")) is False
        isolation.observe(1, suspect=True)
        waiting = asyncio.create_task(other.enter_async_context(isolation.subscription("events")))
        await asyncio.sleep(0.3)
        assert not waiting.done()
        await normal.aclose()
        assert await waiting is True


async def test_consumers_of_two_queues_take_turns_while_both_are_isolated() -> None:
    clock = Clock()
    isolation = new_isolation(clock)
    async with asyncio.timeout(TIMEOUT_S), AsyncExitStack() as first, AsyncExitStack() as second:
        assert await first.enter_async_context(isolation.subscription("events")) is True
        clock.now_s = LATER_S
        assert isolation.is_turn("events"), "no consumer of another queue waits"
        waiting = asyncio.create_task(second.enter_async_context(isolation.subscription("large")))
        await isolation.wait_for_end_of_turn("events")
        assert not waiting.done()
        await first.aclose()
        assert await waiting is True
        assert isolation.is_turn("large")
