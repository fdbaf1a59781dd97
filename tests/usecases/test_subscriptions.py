"""Distribution of events to the subscribers of one process."""

import asyncio
from contextlib import AsyncExitStack

from service.domain.ids import OrgId
from service.store.events import NUMBERED
from service.store.postgres.notifications import open_notifications
from service.usecases.events.number_events import number_events
from service.usecases.events.subscriptions import Subscriber, open_subscriptions
from tests.run_events import run_event
from tests.stored import Store

SUBSCRIBERS = 200


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

    async with AsyncExitStack() as opened:
        notifications = await opened.enter_async_context(open_notifications(store.pool, NUMBERED))
        subscriptions = await opened.enter_async_context(open_subscriptions(store.pool, store.pool, notifications))
        subscribing = [opened.enter_async_context(subscriptions.subscribe(OrgId(1))) for _ in range(SUBSCRIBERS)]
        receiving = [asyncio.create_task(receive((await subscribed)[0])) for subscribed in subscribing]
        await store.ingest(run_event())
        await number_events(store.pool)
        await asyncio.wait_for(asyncio.gather(count_iterations(), *receiving), 30)
    assert order[order.index("received") :].count("iteration") >= 5
