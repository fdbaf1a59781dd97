"""The webhook dispatcher: leases due deliveries, attempts them, and records the outcomes. Several can run at a time."""

import asyncio
import time
from collections import Counter
from collections.abc import Awaitable, Callable, Iterator, Mapping
from contextlib import contextmanager
from functools import partial
from itertools import groupby
from typing import Final, Literal

from consumers import metrics
from consumers.loops import repeat_on_notifications, retry_on_outage
from service.database.database import Connection, Pool
from service.database.encryption import SecretCipher
from service.domain.ids import OrgId
from service.events import store as events_store
from service.outbound.webhooks import WebhookClient
from service.stopping import pause, run_all
from service.webhooks import store as webhooks_store
from service.webhooks.deliver_events import (
    AttemptedDelivery,
    attempt,
    exhaust_disabled,
    lease_deliveries,
    record_attempts,
    recover_missed,
    remove_deleted,
)
from service.webhooks.endpoint_limiter import EndpointLimiter, NextDeliveries
from service.webhooks.model import DeliveryPolicy, Endpoint
from service.webhooks.plan_notices import plan_notices
from service.webhooks.store import LeasedDelivery

LeaseScope = OrgId | Literal["all"]  # the organizations whose deliveries a lease returns
ALL: Final = "all"

_MAX_PENDING: Final = 1_000  # leased deliveries that wait for an attempt
_MAX_LEASED: Final = _MAX_PENDING + 2_000  # deliveries of this process at the same time
_CONCURRENT_LEASES: Final = 3
_MAX_LEASE_REQUESTS: Final = 10
_MIN_LEASE: Final = 100  # deliveries of a lease after the limit was reached, because small leases cost more
_POLL_S: Final = 1.0
_STEP_PAUSE_S: Final = 0.02  # between steps, so that they don't slow down the deliveries
_STOP_POLL_S: Final = 0.2  # while no attempt finishes
_MAX_RECORDED: Final = 500  # attempts in one transaction
_MAX_UNRECORDED: Final = 300  # attempts that have ended


class LeaseRequests:
    """The requested leases, in the order of the requests. Leases of one scope run one after another.

    Leases of several organizations can run concurrently, because the lease of one with many endpoints takes long. If
    more than `max_requests` wait, one lease of all organizations replaces them, because it costs less.
    """

    def __init__(self, max_requests: int) -> None:
        self._max_requests = max_requests
        self._requested: dict[LeaseScope, None] = {}
        self._in_progress: set[LeaseScope] = set()
        self.added = asyncio.Event()

    def add(self, scope: LeaseScope) -> None:
        """Request a lease. A lease that is in progress might not return the deliveries, so another one follows."""
        self._requested[scope] = None
        self.added.set()

    def add_notified(self, org_ids: set[OrgId]) -> None:
        """Request the leases of these organizations, or a lease of all organizations if the set is empty."""
        for org_id in org_ids:
            self.add(org_id)
        if not org_ids:
            self.add(ALL)

    @contextmanager
    def next(self) -> Iterator[LeaseScope | None]:
        """Yield the scope of the next lease, which is in progress during the block; None if no lease can start."""
        self.added.clear()
        if len(self._requested) > self._max_requests:
            self._requested = {ALL: None}
        scope = next((scope for scope in self._requested if scope not in self._in_progress), None)
        if scope is None:
            yield None
            return
        del self._requested[scope]
        self._in_progress.add(scope)
        try:
            yield scope
        finally:
            self._in_progress.discard(scope)


WebhookStep = Callable[[Pool], Awaitable[bool]]  # returns whether more work is due immediately

# Work that is too large for one transaction. Each kind has its own loop, so that none waits for another.
_STEPS: Final[Mapping[str, WebhookStep]] = {
    "recoveries": recover_missed,
    "disabled_webhooks": exhaust_disabled,
    "deleted_webhooks": remove_deleted,
}


class Dispatcher:
    """The dispatcher of one process. After the stop signal, it finishes and records the attempts in progress."""

    def __init__(
        self,
        pool: Pool,
        client: WebhookClient,
        cipher: SecretCipher,
        policy: DeliveryPolicy,
        stopping: asyncio.Event,
        link_base: str,
    ) -> None:
        self._pool = pool
        self._link_base = link_base
        self._client = client
        self._cipher = cipher
        self._policy = policy
        self._stopping = stopping
        self._limiter: EndpointLimiter[LeasedDelivery] = EndpointLimiter(
            policy.initial_concurrency, policy.max_concurrency, _MAX_PENDING
        )
        self._leases = LeaseRequests(_MAX_LEASE_REQUESTS)
        self._leased_count = 0  # also the most that the leases in progress can return
        # Whether a lease had the largest number of deliveries, since the last lease of all organizations.
        self._is_at_limit = False
        self._partly_leased: set[Endpoint] = set()  # more of their deliveries might be due
        self._tasks: set[asyncio.Task[None]] = set()
        self._attempted: list[AttemptedDelivery] = []
        self._to_release: list[LeasedDelivery] = []
        self._batch: list[AttemptedDelivery] = []  # the attempts that are being recorded
        self._attempt_finished = asyncio.Event()
        self._can_continue = asyncio.Event()  # with the next attempts
        self._can_continue.set()

    async def run(self) -> None:
        """Run until the process must stop and all attempts are recorded."""
        notified = self._leases.add_notified
        works: list[tuple[str, Callable[[], Awaitable[None]]]] = [
            ("claims", self._lease_requested)  # a public name, which the log shows; other code calls this a lease
        ] * _CONCURRENT_LEASES
        works.append(("deliveries", self._record_all))
        works += [(name, partial(self._repeat_step, step)) for name, step in _STEPS.items()]
        works.append(("notices", partial(self._repeat_step, partial(plan_notices, link_base=self._link_base))))
        await run_all(
            [
                repeat_on_notifications(
                    "webhooks", self._pool, events_store.EVENTS_WRITTEN, self._poll, self._stopping, notified
                ),
                *(retry_on_outage(name, work, self._stopping) for name, work in works),
            ]
        )

    async def _poll(self, _: Connection) -> bool:
        """Request a lease for deliveries that became due by time, or whose notification was lost."""
        self._leases.add(ALL)
        return False

    async def _lease_requested(self) -> None:
        """Lease the deliveries of requested organizations until the process must stop."""
        while not self._stopping.is_set():
            with self._leases.next() as requested:
                if requested is not None:
                    await self._lease_due(None if requested == ALL else requested)
            if requested is None:
                await pause(_POLL_S, self._leases.added, self._stopping)

    async def _lease_due(self, org_id: OrgId | None) -> None:
        """Lease due deliveries of an organization (None: of all), and start the attempts."""
        limit = (_MAX_LEASED - self._leased_count) // 2  # the other half is for concurrent leases
        capacities = self._limiter.capacities(time.monotonic(), org_id)
        leased: list[LeasedDelivery] = []
        self._leased_count += limit
        try:
            leased = await lease_deliveries(self._pool, org_id, capacities, limit, self._policy)
        finally:
            self._leased_count -= limit - len(leased)
        # Only a lease of all organizations shows that none of them has more due deliveries.
        self._is_at_limit = len(leased) >= limit or (self._is_at_limit and org_id is not None)
        counts = Counter(delivery.endpoint for delivery in leased)
        self._partly_leased = {other for other in self._partly_leased if org_id not in (None, other[0])}
        self._partly_leased |= {endpoint for endpoint, capacity in capacities.items() if counts[endpoint] >= capacity}
        for endpoint, deliveries in groupby(leased, key=lambda delivery: delivery.endpoint):
            if counts[endpoint] >= self._policy.initial_concurrency:
                self._partly_leased.add(endpoint)
            self._start(self._limiter.add(endpoint, deliveries, time.monotonic()))

    def _start(self, following: NextDeliveries[LeasedDelivery]) -> None:
        self._to_release += following.release
        self._leased_count -= len(following.release)
        for delivery in following.attempt:
            task = asyncio.create_task(self._attempt(delivery))
            self._tasks.add(task)
            task.add_done_callback(self._tasks.discard)

    async def _attempt(self, leased: LeasedDelivery) -> None:
        started = time.monotonic()
        attempted = await attempt(self._client, self._cipher, leased, self._link_base)
        endpoint, succeeded, duration_s = leased.endpoint, attempted.outcome.succeeded, time.monotonic() - started
        await self._add_attempted(attempted)
        self._leased_count -= 1
        self._start(self._limiter.finish(endpoint, time.monotonic(), duration_s, succeeded=succeeded))
        # After a failure, the next lease waits until the failure is recorded, because it can open the circuit breaker.
        if succeeded and self._is_at_limit:
            if self._leased_count <= _MAX_LEASED - _MIN_LEASE:
                self._leases.add(ALL)
        elif succeeded and endpoint in self._partly_leased and self._limiter.has_capacity(endpoint):
            self._leases.add(endpoint[0])

    async def _add_attempted(self, attempted: AttemptedDelivery) -> None:
        """Add an attempt to be recorded. If many aren't recorded yet, wait, because a crash would repeat them."""
        self._attempted.append(attempted)
        self._attempt_finished.set()
        if len(self._attempted) + len(self._batch) > _MAX_UNRECORDED:
            self._can_continue.clear()
        await self._can_continue.wait()

    async def _record_all(self) -> None:
        """Record attempts until the process stops and no attempt is in progress. The batch survives an outage."""
        while self._batch or self._attempted or self._tasks or not self._stopping.is_set():
            self._attempt_finished.clear()
            if self._stopping.is_set():
                self._to_release += self._limiter.release_pending()
            await self._release_leases()
            self._batch = self._batch or self._next_batch()
            if self._batch:
                await self._record_batch()
            else:
                await pause(_STOP_POLL_S, self._attempt_finished)

    async def _record_batch(self) -> None:
        metrics.count_deliveries(self._batch, await record_attempts(self._pool, self._batch, self._policy))
        for org_id in {attempted.delivery.org_id for attempted in self._batch if not attempted.outcome.succeeded}:
            self._leases.add(org_id)
        self._batch = []
        if len(self._attempted) <= _MAX_UNRECORDED:
            self._can_continue.set()

    async def _release_leases(self) -> None:
        """Release leases before they expire, so that any dispatcher can lease the deliveries immediately."""
        released, self._to_release = self._to_release, []
        if released:
            await webhooks_store.release(self._pool, released)

    def _next_batch(self) -> list[AttemptedDelivery]:
        batch, self._attempted = self._attempted[:_MAX_RECORDED], self._attempted[_MAX_RECORDED:]
        return batch

    async def _repeat_step(self, step: WebhookStep) -> None:
        while not self._stopping.is_set():
            is_more_due = await step(self._pool)
            if is_more_due:
                self._leases.add(ALL)
            await pause(_STEP_PAUSE_S if is_more_due else _POLL_S, self._stopping)
