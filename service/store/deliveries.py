"""Queries for deliveries: a dispatcher claims them for a lease and records outcomes with its fencing token."""

import time
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from functools import cached_property
from typing import Final, NamedTuple
from uuid import UUID, uuid4

import asyncpg

from service.contracts.events import envelope
from service.contracts.responses import WebhookDelivery
from service.domain.deliveries import MAX_LOGGED_ATTEMPTS, DeliveryPolicy, DeliveryStatus, Endpoint
from service.domain.ids import OrgId
from service.store.postgres.database import Connection
from service.store.postgres.statements import statements
from service.store.queries.pages import RowPage, find_object, page_by_id

_SQL: Final = statements("deliveries")
_EVENT: Final = 8  # the position of the columns of the event in a claimed row
_AFTER_ALL_IDS: Final = "dlv_g"  # IDs continue with hex digits, so this sorts after all of them


@dataclass(frozen=True)
class ClaimedEvent:
    """An event to be delivered. The deliveries of one claim share it."""

    event_id: str
    type: str
    created_at: datetime
    data: str
    trace_context: Mapping[str, str] | None  # of the change that the event reports

    @cached_property
    def body(self) -> bytes:
        """The request body, which all receivers get."""
        return envelope(self.event_id, self.type, self.created_at, self.data)


class ClaimedDelivery(NamedTuple):
    """A delivery that this process has claimed, with everything that an attempt needs.

    An attempt must start at the latest when `time.monotonic()` is `start_by`.
    """

    org_id: OrgId
    webhook_id: str
    delivery_id: str
    attempt_count: int
    claim: UUID
    url: str
    secret: str
    previous_secret: str | None
    event: ClaimedEvent
    start_by: float

    @property
    def endpoint(self) -> Endpoint:
        """The endpoint that receives the delivery."""
        return self.org_id, self.webhook_id


class DeliveryUpdate(NamedTuple):
    """The change of a delivery after an attempt, in the order of the statement's parameters.

    `attempt` is the JSON for the attempt log.
    """

    org_id: OrgId
    webhook_id: str
    delivery_id: str
    claim: UUID
    status: DeliveryStatus
    delay: timedelta | None
    attempt: str


async def claim(
    pool: asyncpg.Pool, org_id: OrgId | None, capacities: Mapping[Endpoint, int], limit: int, policy: DeliveryPolicy
) -> list[ClaimedDelivery]:
    """Claim at most `limit` due deliveries of an organization (None: of all), per endpoint at most its capacity."""
    known: dict[str, dict[str, int]] = defaultdict(dict)
    for (endpoint_org_id, webhook_id), capacity in capacities.items():
        known[str(endpoint_org_id)][webhook_id] = capacity
    start_by = time.monotonic() + policy.longest_wait_s
    rows = await pool.fetch(
        _SQL["claim"], known, policy.initial_concurrency, limit, uuid4(), policy.lease, policy.breaker_failures, org_id
    )
    events = {(row["org_id"], row["event_id"]): ClaimedEvent(*row[_EVENT:]) for row in rows if row["type"]}
    found = ((row, events.get((row["org_id"], row["event_id"]))) for row in rows)
    return [ClaimedDelivery._make((*row[:_EVENT], event, start_by)) for row, event in found if event]


async def record(connection: Connection, updates: Sequence[DeliveryUpdate], policy: DeliveryPolicy) -> None:
    """Record the outcomes of attempts, and update the failures and the circuit breaker of their endpoints."""
    min_pause, max_pause = timedelta(seconds=policy.breaker_min_pause_s), timedelta(seconds=policy.breaker_max_pause_s)
    await connection.execute(
        _SQL["record"],
        *map(list, zip(*updates, strict=True)),
        policy.breaker_failures,
        min_pause,
        max_pause,
        MAX_LOGGED_ATTEMPTS,
    )


async def release(pool: asyncpg.Pool, claimed: Sequence[ClaimedDelivery]) -> None:
    """Make claimed deliveries that weren't attempted due again."""
    keys = [(delivery.org_id, delivery.webhook_id, delivery.delivery_id, delivery.claim) for delivery in claimed]
    await pool.execute(_SQL["release"], *map(list, zip(*keys, strict=True)))


async def insert_test(connection: Connection, org_id: OrgId, webhook_id: str, event_id: str) -> str:
    """Insert a delivery of an event that only this webhook receives, and return the delivery ID."""
    return str(await connection.fetchval(_SQL["insert_test"], org_id, webhook_id, event_id))


async def reopen(connection: Connection, org_id: OrgId, webhook_id: str, delivery_id: str) -> bool:
    """Make a delivery due now with a new retry schedule. Return False if the delivery doesn't exist."""
    return await connection.fetchval(_SQL["reopen"], org_id, webhook_id, delivery_id) is not None


async def exhaust_pending(connection: Connection, endpoint: Endpoint, limit: int) -> int:
    """Set at most `limit` pending deliveries to exhausted, except for locked ones, and return their number."""
    return int(await connection.fetchval(_SQL["exhaust_pending"], *endpoint, limit))


async def delete_some(connection: Connection, endpoint: Endpoint, limit: int) -> int:
    """Delete at most `limit` deliveries, except for locked ones, and return their number."""
    return int(await connection.fetchval(_SQL["delete_some"], *endpoint, limit))


async def has_any(connection: Connection, endpoint: Endpoint) -> bool:
    """Return whether the endpoint has deliveries."""
    return bool(await connection.fetchval(_SQL["has_any"], *endpoint))


async def list_page(
    connection: Connection, org_id: OrgId, webhook_id: str, before: str | None, status: str | None, limit: int
) -> RowPage[WebhookDelivery, str]:
    """Return a page of deliveries, newest event first, after the delivery with the ID `before`."""
    values = {
        "org_id": org_id, "webhook_id": webhook_id, "before": before or _AFTER_ALL_IDS, "status": status,
        "page": limit,
    }  # fmt: skip
    return await page_by_id(connection, "listed_deliveries", values)


async def find_one(connection: Connection, org_id: OrgId, webhook_id: str, delivery_id: str) -> WebhookDelivery | None:
    """Return one delivery, or None if it doesn't exist."""
    values = {"org_id": org_id, "webhook_id": webhook_id, "delivery_id": delivery_id}
    found: WebhookDelivery | None = await find_object(connection, "one_delivery", values)
    return found
