"""The dispatcher: brings events to webhooks, beside any number of others, until it is told to stop."""

import asyncio
from collections.abc import Iterable
from itertools import groupby
from typing import Final

from consumers import metrics
from consumers.loops import repeat_on_notifications, retry_on_outage
from service.domain.endpoint_limiter import MAX_WINDOW, EndpointLimiter
from service.outbound.webhooks import WebhookClient
from service.stopping import pause
from service.store import events
from service.store.deliveries import ClaimedDelivery
from service.store.postgres.database import Connection, Pool
from service.usecases.webhooks.deliver_events import (
    AttemptedDelivery,
    attempt,
    claim_deliveries,
    record_attempts,
    recover_missed,
    release_deliveries,
)

_HELD: Final = 1_000  # deliveries that this process has claimed at a time
_POLL_S: Final = 1.0  # behind the notifications, and for what comes due by time
_LOOK_S: Final = 0.2  # for the order to stop, while nothing finishes
_RECORDED_AT_ONCE: Final = 500


class Dispatcher:
    """Claims what is due, attempts it, records what came of it; recording goes on until the last attempt is over."""

    def __init__(self, pool: Pool, client: WebhookClient, stopping: asyncio.Event, window: int = MAX_WINDOW) -> None:
        self._pool = pool
        self._client = client
        self._stopping = stopping
        self._limiter: EndpointLimiter[ClaimedDelivery] = EndpointLimiter(window)
        self._held = 0
        self._running: set[asyncio.Task[None]] = set()
        self._finished: list[AttemptedDelivery] = []
        self._unwanted: list[ClaimedDelivery] = []
        self._batch: list[AttemptedDelivery] = []  # being recorded
        self._wake = asyncio.Event()  # something may be due
        self._news = asyncio.Event()  # something has finished

    async def run(self) -> None:
        """Until told to stop; then what is under way is finished and recorded."""
        async with asyncio.TaskGroup() as group:
            group.create_task(
                repeat_on_notifications(
                    "webhooks", self._pool, events.WRITTEN, self._claim_due, self._stopping, self._wake
                )
            )
            group.create_task(retry_on_outage("deliveries", self._record, self._stopping))
            group.create_task(retry_on_outage("recoveries", self._recover, self._stopping))

    async def _claim_due(self, _: Connection) -> bool:
        claimed = await claim_deliveries(self._pool, self._limiter.capacities(), _HELD - self._held)
        self._held += len(claimed)
        for endpoint, ours in groupby(claimed, key=lambda one: one.endpoint):
            self._begin(self._limiter.add(endpoint, ours))
        return False

    def _begin(self, deliveries: Iterable[ClaimedDelivery]) -> None:
        for one in deliveries:
            task = asyncio.create_task(self._attempt(one))
            self._running.add(task)
            task.add_done_callback(self._running.discard)

    async def _attempt(self, claimed: ClaimedDelivery) -> None:
        attempted = await attempt(self._client, claimed)
        following = self._limiter.finish(claimed.endpoint, succeeded=attempted.answer.succeeded)
        self._finished.append(attempted)
        self._unwanted += following.release
        self._held -= 1 + len(following.release)
        self._begin(following.attempt)
        self._news.set()
        if attempted.answer.succeeded and self._limiter.has_capacity(claimed.endpoint):
            self._wake.set()  # after a failure only once that is recorded: the breaker may be open then

    async def _record(self) -> None:
        """Until there is nothing left to record and never will be. Keeps the batch where the store is out of reach."""
        while self._batch or self._finished or self._running or not self._stopping.is_set():
            self._news.clear()
            if self._stopping.is_set():
                self._unwanted += self._limiter.release_pending()
            await self._release_pending()
            self._batch = self._batch or self._take()
            if self._batch:
                metrics.count_deliveries(self._batch, await record_attempts(self._pool, self._batch))
                if not all(attempted.answer.succeeded for attempted in self._batch):
                    self._wake.set()
                self._batch = []
            else:
                await pause(_LOOK_S, self._news)

    async def _release_pending(self) -> None:
        unwanted, self._unwanted = self._unwanted, []
        if unwanted:
            await release_deliveries(self._pool, unwanted)

    def _take(self) -> list[AttemptedDelivery]:
        taken, self._finished = self._finished[:_RECORDED_AT_ONCE], self._finished[_RECORDED_AT_ONCE:]
        return taken

    async def _recover(self) -> None:
        while not self._stopping.is_set():
            if await recover_missed(self._pool):
                self._wake.set()
            else:
                await pause(_POLL_S, self._stopping)
