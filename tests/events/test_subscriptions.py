"""Distribution of events to the subscribers of one process."""

import asyncio
import time
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from itertools import pairwise
from types import SimpleNamespace

import pytest

from service.database.notifications import open_notifications
from service.domain.ids import OrgId
from service.events import subscriptions as events_subscriptions
from service.events.model import EventFilter
from service.events.operations import number_events
from service.events.store import EVENTS_NUMBERED
from service.events.subscriptions import Disconnected, EventSubscriptions, Subscriber, open_subscriptions
from tests.run_events import run_event
from tests.stored import Store

SUBSCRIBERS = 200
MIN_PAUSE_S = 0.003


@asynccontextmanager
async def subscribed_to(store: Store) -> AsyncIterator[EventSubscriptions]:
    async with (
        open_notifications(store.pool, EVENTS_NUMBERED) as notifications,
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


async def test_subscribers_are_disconnected_when_the_server_has_changed(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    """After a failover, the numbers that a reader has read can belong to events that it hasn't read."""
    incarnation = "old"
    monkeypatch.setattr(events_subscriptions, "incarnation_of", lambda _: incarnation)
    monkeypatch.setattr(events_subscriptions, "_POLL_S", 0.05)
    async with subscribed_to(store) as subscriptions:
        async with subscriptions.subscribe(OrgId(1), EventFilter()) as (subscriber, _):
            await store.ingest(run_event("run_1"))
            await number_events(store.pool)
            assert await asyncio.wait_for(subscriber.next(), 5)
            incarnation = "new"
            with pytest.raises(Disconnected):
                await asyncio.wait_for(subscriber.next(), 5)
        async with subscriptions.subscribe(OrgId(1), EventFilter()) as (subscriber, _):
            await store.ingest(run_event("run_2"))
            await number_events(store.pool)
            assert await asyncio.wait_for(subscriber.next(), 5)


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
    """Each subscriber uses 1 ms of CPU time, which a test clock counts. The larger part of the time is for requests.

    The pauses are between the subscribers. Otherwise, requests and other processes would wait for all of them.
    """
    received_s: list[float] = []

    async def receive(subscriber: Subscriber) -> None:
        await subscriber.next()
        received_s.append(time.monotonic())

    async with AsyncExitStack() as opened, subscribed_to(store) as subscriptions:
        subscribing = [
            opened.enter_async_context(subscriptions.subscribe(OrgId(1), EventFilter())) for _ in range(SUBSCRIBERS)
        ]
        receiving = [asyncio.create_task(receive((await subscribed)[0])) for subscribed in subscribing]
        await store.ingest(run_event())
        clock = SimpleNamespace(thread_time=lambda: len(received_s) / 1000, time=time.time)
        monkeypatch.setattr("service.events.subscriptions.time", clock)
        await number_events(store.pool)
        await asyncio.wait_for(asyncio.gather(*receiving), 30)
    pauses = [later - earlier for earlier, later in pairwise(received_s) if later - earlier >= MIN_PAUSE_S]
    assert len(pauses) >= SUBSCRIBERS / 10
    assert sum(pauses) >= 1.5 * SUBSCRIBERS / 1000
