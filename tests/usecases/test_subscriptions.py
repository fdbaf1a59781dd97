"""Distribution of events to the subscribers of one process."""

import asyncio
import time
from collections.abc import AsyncIterator, Sequence
from contextlib import AsyncExitStack, asynccontextmanager

import pytest

from service.domain.ids import OrgId
from service.domain.streams import EventFilter, NumberedEvent
from service.store.events import NUMBERED
from service.store.postgres.notifications import open_notifications
from service.usecases.events.number_events import number_events
from service.usecases.events.subscriptions import EventSubscriptions, Subscriber, _EventReader, open_subscriptions
from tests.run_events import run_event
from tests.stored import Store

SUBSCRIBERS = 200


@asynccontextmanager
async def subscribed_to(store: Store) -> AsyncIterator[EventSubscriptions]:
    async with (
        open_notifications(store.pool, NUMBERED) as notifications,
        open_subscriptions(store.pool, store.pool, notifications) as subscriptions,
    ):
        yield subscriptions


async def test_event_loop_continues_while_many_subscribers_receive_an_event(store: Store) -> None:
    """Without pauses, all subscribers send the event before the event loop reads another request."""
    order: list[str] = []

    async def receive(subscriber: Subscriber) -> None:
        await subscriber.next()
        order.append("received")

    async def count_iterations() -> None:
        while order.count("received") < SUBSCRIBERS:
            order.append("iteration")
            await asyncio.sleep(0)

    async with AsyncExitStack() as opened, subscribed_to(store) as subscriptions:
        subscribing = [
            opened.enter_async_context(subscriptions.subscribe(OrgId(1), EventFilter())) for _ in range(SUBSCRIBERS)
        ]
        receiving = [asyncio.create_task(receive((await subscribed)[0])) for subscribed in subscribing]
        await store.ingest(run_event())
        await number_events(store.pool)
        await asyncio.wait_for(asyncio.gather(count_iterations(), *receiving), 30)
    assert order[order.index("received") :].count("iteration") >= 5


async def test_events_that_are_read_together_are_received_together(store: Store) -> None:
    async with (
        subscribed_to(store) as subscriptions,
        subscriptions.subscribe(OrgId(1), EventFilter()) as (subscriber, _),
    ):
        for number in range(3):
            await store.ingest(run_event(f"run_{number}"))
        await number_events(store.pool)
        received = await asyncio.wait_for(subscriber.next(), 5)
    assert [event.run_id for event in received] == ["run_0", "run_1", "run_2"]


async def test_subscriber_receives_only_events_that_match_its_filter(store: Store) -> None:
    filter_ = EventFilter(run_id="run_2")
    async with subscribed_to(store) as subscriptions, subscriptions.subscribe(OrgId(1), filter_) as (subscriber, _):
        for number in range(4):
            await store.ingest(run_event(f"run_{number}"))
            await number_events(store.pool)
        received = await asyncio.wait_for(subscriber.next(), 5)
    assert [event.run_id for event in received] == ["run_2"]


async def test_distribution_to_many_subscribers_pauses_for_other_requests(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Distribution takes time in proportion to the number of subscribers. It must leave the larger part to requests."""
    times: list[float] = []
    distribute = _EventReader._distribute

    async def slowly(reader: _EventReader, found: Sequence[NumberedEvent]) -> None:
        times.append(time.monotonic())
        await asyncio.sleep(0.1)
        await distribute(reader, found)
        times.append(time.monotonic())

    monkeypatch.setattr(_EventReader, "_distribute", slowly)
    async with (
        subscribed_to(store) as subscriptions,
        subscriptions.subscribe(OrgId(1), EventFilter()) as (subscriber, _),
    ):
        for number in range(2):
            await store.ingest(run_event(f"run_{number}"))
            await number_events(store.pool)
            await asyncio.wait_for(subscriber.next(), 5)
    first_start, first_end, second_start, _ = times
    assert second_start - first_end > first_end - first_start
