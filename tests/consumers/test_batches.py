"""Tests of batches that one consumer handles concurrently."""

import asyncio
from collections import Counter
from collections.abc import Sequence

import orjson
import pytest

from consumers.batches import BatchTasks
from consumers.messages import Delivery, HandlerOutcome
from tests.consumers.conftest import Broker, consuming, until
from tests.proxies import UnreliableProxy
from tests.run_events import run_event
from tests.stored import Store


async def test_later_batch_acknowledges_no_message_of_an_earlier_one(broker: Broker, store: Store) -> None:
    handled: Counter[str] = Counter()

    async def handle(deliveries: Sequence[Delivery]) -> list[HandlerOutcome]:
        run_ids = [orjson.loads(delivery.body)["data"]["run"]["run_id"] for delivery in deliveries]
        handled.update(run_ids)
        if "run_1" in run_ids and handled["run_1"] == 1:
            await asyncio.Event().wait()  # until the connection is lost
        return [None] * len(deliveries)

    async def until_handled(run_id: str, count: int = 1) -> None:
        async def is_handled() -> bool:
            return handled[run_id] >= count

        await until(is_handled, f"{run_id}, {count} times")

    async with UnreliableProxy(broker.url) as proxy, consuming(broker, store, handle, url=proxy.url):
        for number in range(
            5
        ):  # run_0 is isolated; a later batch starts after an earlier one except run_1 is acknowledged
            await broker.publish(run_event(f"run_{number}"))
            await until_handled(f"run_{number}")
        proxy.close_connections(reset=True)
        await until_handled("run_1", 2)
    assert handled["run_2"] == 1


async def test_batch_after_a_failed_one_acknowledges_only_its_own_messages() -> None:
    """The messages of the failed batch would be lost."""
    failed, results = asyncio.Event(), []

    async def fail() -> None:
        failed.set()
        raise ConnectionResetError

    async def succeed(batches: BatchTasks) -> None:
        await failed.wait()
        results.append(await batches.have_earlier_succeeded(0.01))

    async def run() -> None:
        async with BatchTasks(2) as batches:
            batches.start(fail())
            batches.start(succeed(batches))
            await asyncio.sleep(0.05)

    with pytest.raises(ConnectionResetError):
        await run()
    assert results == [False]


async def test_batch_waits_for_an_earlier_one_before_it_is_acknowledged() -> None:
    results = []

    async def finish_later() -> None:
        await asyncio.sleep(0.01)

    async def wait(batches: BatchTasks, timeout_s: float) -> None:
        results.append(await batches.have_earlier_succeeded(timeout_s))

    async with BatchTasks(3) as batches:
        batches.start(finish_later())
        batches.start(wait(batches, 0))
        batches.start(wait(batches, 10))
    assert results == [False, True]


async def test_error_of_one_batch_cancels_the_others() -> None:
    canceled = asyncio.Event()

    async def wait_until_canceled() -> None:
        try:
            await asyncio.Event().wait()
        finally:
            canceled.set()

    async def fail() -> None:
        raise ConnectionResetError

    async def run() -> None:
        async with BatchTasks(2) as batches:
            batches.start(wait_until_canceled())
            batches.start(fail())

    with pytest.raises(ConnectionResetError):
        await run()
    assert canceled.is_set()


async def test_started_batches_finish_at_the_end_of_the_block() -> None:
    finished: list[int] = []

    async def finish(number: int) -> None:
        await asyncio.sleep(0.01 * number)
        finished.append(number)

    async with BatchTasks(3) as batches:
        for number in (2, 1):
            batches.start(finish(number))
        assert not batches.is_full
        batches.start(finish(3))
        assert batches.is_full
    assert finished == [1, 2, 3]
