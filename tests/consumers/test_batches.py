"""Tests of batches that one consumer handles concurrently."""

import asyncio
from collections import Counter
from collections.abc import AsyncIterator, Sequence
from typing import Any

import orjson
import pytest

from consumers.broker import ConsumerLost
from consumers.inbox import StartedBatches
from consumers.messages import Delivery, HandlerOutcome
from service.stopping import end_tasks
from tests.fixtures.broker import Broker, consuming, until
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


class Tag:
    """A message of which only the identity is used."""

    def __init__(self, name: str) -> None:
        self.name = name


class Batches:
    """Started batches whose tasks the test ends."""

    def __init__(self) -> None:
        self.changed = asyncio.Event()
        self.started = StartedBatches(3, self.changed)
        self.ends: list[asyncio.Future[None]] = []

    def start(self, *names: str) -> None:
        async def handle(end: asyncio.Future[None]) -> None:
            await end

        self.ends.append(asyncio.get_running_loop().create_future())
        messages: Any = [Tag(name) for name in names]
        self.started.start(messages, handle(self.ends[-1]))

    async def end(self, number: int, error: Exception | None = None) -> None:
        self.changed.clear()
        if error:
            self.ends[number].set_exception(error)
        else:
            self.ends[number].set_result(None)
        await asyncio.wait_for(self.changed.wait(), 10)

    def acknowledged(self) -> list[tuple[str, bool]]:
        found: Any = self.started.take_finished()
        return [(message.name, is_multiple) for message, is_multiple in found]


@pytest.fixture
async def batches() -> AsyncIterator[Batches]:
    opened = Batches()
    for names in (("a", "b"), ("c", "d"), ("e",)):
        opened.start(*names)
    yield opened
    await end_tasks(opened.started.tasks)


async def test_finished_batches_at_the_start_get_one_acknowledgment(batches: Batches) -> None:
    assert batches.started.is_full
    await batches.end(1)
    assert batches.acknowledged() == []
    await batches.end(0)
    assert batches.acknowledged() == [("d", True)]
    assert len(batches.started) == 1


async def test_batch_waits_a_short_time_for_an_earlier_one(batches: Batches) -> None:
    await batches.end(1)
    assert 0 < batches.started.remaining_s() < 1
    await asyncio.sleep(batches.started.remaining_s() + 0.01)
    assert batches.acknowledged() == [("c", False), ("d", False)]
    await batches.end(0)
    assert batches.acknowledged() == [("b", True)]


async def test_batch_after_a_failed_one_is_not_acknowledged_with_it(batches: Batches) -> None:
    """The messages of the failed batch would be lost."""
    await batches.end(1)
    await batches.end(0, ConnectionResetError())
    with pytest.raises(ConnectionResetError):
        batches.acknowledged()


async def test_canceled_batch_is_a_loss_of_the_consumer(batches: Batches) -> None:
    """The library cancels the calls of a connection that it closes."""
    batches.ends[0].cancel()
    await asyncio.wait_for(batches.changed.wait(), 10)
    with pytest.raises(ConsumerLost):
        batches.acknowledged()
