"""Webhooks, recoveries, which reopen missed deliveries, and deliveries, which a dispatcher leases."""

import time
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from functools import cached_property
from typing import Final, NamedTuple, cast
from uuid import UUID, uuid4

import asyncpg
import orjson

from service.database.database import Connection
from service.database.pages import RowPage, find_object, page_by_id
from service.database.statements import statements
from service.domain.ids import OrgId
from service.events.contract import envelope
from service.events.model import EVENT_TYPES, INTERNAL_TYPES
from service.webhooks.contract import Recovery, Webhook, WebhookDelivery
from service.webhooks.model import (
    MAX_LOGGED_ATTEMPTS,
    ROTATION_OVERLAP,
    DeliveryPolicy,
    DeliveryStatus,
    Endpoint,
    WebhookFormat,
)

_SQL: Final = statements("webhooks")

_EVENT: Final = 9  # the position of the columns of the event in a leased row


class WebhookFields(NamedTuple):
    """The fields that the owner of a webhook sets, in the order of the columns."""

    url: str
    description: str
    events: list[str]
    project_id: str | None
    enabled: bool
    format: WebhookFormat = "standard"
    branch: str | None = None
    owner: str | None = None
    state: str | None = None


class StoredSecrets(NamedTuple):
    """The secrets of a webhook as stored: encrypted or plain text. The previous secret is None after it expired."""

    org_id: OrgId
    webhook_id: str
    secret: str
    previous_secret: str | None


class LockedRecovery(NamedTuple):
    """A recovery that this transaction has locked. The events up to `position` have been examined."""

    org_id: OrgId
    webhook_id: str
    recovery_id: str
    position: str
    until: datetime


async def insert(connection: Connection, org_id: OrgId, webhook_id: str, fields: WebhookFields, secret: str) -> None:
    """Insert a new webhook. `secret` is the text to store."""
    await connection.execute(_SQL["insert"], org_id, webhook_id, *fields, secret)


async def count_for_insert(connection: Connection, org_id: OrgId) -> int:
    """Return the number of webhooks of an organization. No other transaction inserts one before this one ends."""
    await connection.execute(_SQL["lock_list"], org_id)
    count: int = await connection.fetchval(_SQL["count"], org_id)
    return count


async def find_webhook(
    connection: Connection, org_id: OrgId, webhook_id: str, project_id: str | None
) -> Webhook | None:
    """Return one webhook without its secrets. With a project, it must be bound to that project."""
    values = {"org_id": org_id, "webhook_id": webhook_id, "project_id": project_id, "sent_types": EVENT_TYPES}
    found: Webhook | None = await find_object(connection, "one_webhook", values)
    return found


async def list_webhooks(
    connection: Connection, org_id: OrgId, project_id: str | None, before: str | None, limit: int
) -> RowPage[Webhook, str]:
    """Return a page of webhooks, newest first, after the webhook with the ID `before`."""
    values = {"org_id": org_id, "project_id": project_id, "sent_types": EVENT_TYPES}
    return await page_by_id(connection, "listed_webhooks", "whk", before, limit, values)


async def lock(connection: Connection, org_id: OrgId, webhook_id: str, project_id: str | None) -> WebhookFields | None:
    """Return the fields of a webhook and lock its row until the transaction ends."""
    row = await connection.fetchrow(_SQL["lock"], org_id, webhook_id, project_id)
    return WebhookFields(*row) if row else None


async def update(connection: Connection, org_id: OrgId, webhook_id: str, fields: WebhookFields) -> None:
    """Replace the fields of a webhook."""
    await connection.execute(_SQL["update"], org_id, webhook_id, *fields)


async def delete(connection: Connection, org_id: OrgId, webhook_id: str, project_id: str | None) -> bool:
    """Mark a webhook as deleted, so that only `lock_deleted` finds it. Return False if the webhook doesn't exist."""
    return await connection.fetchval(_SQL["delete"], org_id, webhook_id, project_id) is not None


async def lock_disabled(connection: Connection) -> Endpoint | None:
    """Lock one disabled webhook that has pending deliveries until the transaction ends."""
    row = await connection.fetchrow(_SQL["lock_disabled"])
    return (OrgId(row["org_id"]), row["webhook_id"]) if row else None


async def lock_deleted(connection: Connection) -> Endpoint | None:
    """Lock one deleted webhook until the transaction ends."""
    row = await connection.fetchrow(_SQL["lock_deleted"])
    return (OrgId(row["org_id"]), row["webhook_id"]) if row else None


async def remove(connection: Connection, endpoint: Endpoint) -> None:
    """Delete the row of a deleted webhook that has no deliveries, and its recoveries."""
    await connection.execute(_SQL["remove"], *endpoint)


async def rotate_secret(connection: Connection, org_id: OrgId, webhook_id: str, secret: str) -> None:
    """Replace the secret with the text to store. The previous secret also signs for `ROTATION_OVERLAP`."""
    await connection.execute(_SQL["rotate_secret"], org_id, webhook_id, secret, ROTATION_OVERLAP)


async def find_key_ids(connection: Connection) -> list[str]:
    """Return the IDs of the encryption keys of all secrets that still sign."""
    return [row["key_id"] for row in await connection.fetch(_SQL["find_key_ids"])]


async def lock_secrets(connection: Connection, prefix: str, limit: int) -> list[StoredSecrets]:
    """Lock at most `limit` webhooks of all organizations with a secret that doesn't start with the prefix."""
    return [StoredSecrets(*row) for row in await connection.fetch(_SQL["lock_secrets"], prefix, limit)]


async def replace_secrets(connection: Connection, stored: StoredSecrets) -> None:
    """Replace both secrets of a webhook."""
    await connection.execute(_SQL["replace_secrets"], *stored)


async def disable(connection: Connection, endpoint: Endpoint, reason: str) -> asyncpg.Record | None:
    """Disable a webhook. Return description, project_id, failing_since, or None if it was already disabled."""
    return await connection.fetchrow(_SQL["disable"], *endpoint, reason)


async def find_failing(connection: Connection, endpoints: Iterable[Endpoint], limit: timedelta) -> list[Endpoint]:
    """Return the endpoints that have only failed for longer than the limit."""
    rows = await connection.fetch(_SQL["find_failing"], *map(list, zip(*endpoints, strict=True)), limit)
    return [(OrgId(row["org_id"]), row["webhook_id"]) for row in rows]


async def insert_recovery(
    connection: Connection, org_id: OrgId, webhook_id: str, recovery_id: str, since: datetime
) -> None:
    """Insert a recovery for the dispatcher."""
    await connection.execute(_SQL["insert_recovery"], org_id, webhook_id, recovery_id, since)


async def find_recovery(connection: Connection, org_id: OrgId, webhook_id: str, recovery_id: str) -> Recovery | None:
    """Return one recovery, or None if it doesn't exist."""
    text = await connection.fetchval(_SQL["find_recovery"], org_id, webhook_id, recovery_id)
    return None if text is None else orjson.loads(text)


async def lock_recovery(connection: Connection) -> LockedRecovery | None:
    """Lock the oldest unfinished recovery that no other worker has locked, until the transaction ends."""
    row = await connection.fetchrow(_SQL["lock_recovery"])
    return LockedRecovery(*row) if row else None


async def recover_step(connection: Connection, recovery: LockedRecovery, limit: int) -> bool:
    """Examine the next `limit` events and open the missed deliveries. Return whether the recovery is finished."""
    org_id, webhook_id, recovery_id, position, until = recovery
    row = await connection.fetchrow(_SQL["recover_step"], org_id, webhook_id, position, until, limit, INTERNAL_TYPES)
    if row is None:
        raise AssertionError("a SELECT of aggregates returns a row")
    is_finished: bool = row["examined"] < limit
    await connection.execute(
        _SQL["advance_recovery"], org_id, webhook_id, recovery_id, row["last"], row["recovered"], is_finished
    )
    return is_finished


@dataclass(frozen=True)
class EventToDeliver:
    """An event to be delivered. The deliveries of one lease share it."""

    event_id: str
    type: str
    created_at: datetime
    data: str
    trace_context: Mapping[str, str] | None  # of the change that the event reports
    project_id: str | None

    @cached_property
    def body(self) -> bytes:
        """The request body of the format `standard`."""
        return envelope(self.event_id, self.type, self.created_at, self.data)


class LeasedDelivery(NamedTuple):
    """A delivery that this process has leased, with everything that an attempt needs.

    An attempt must start at the latest when `time.monotonic()` is `start_by`.
    """

    org_id: OrgId
    webhook_id: str
    delivery_id: str
    attempt_count: int
    token: UUID
    url: str
    secret: str
    previous_secret: str | None
    format: WebhookFormat
    event: EventToDeliver
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
    token: UUID
    status: DeliveryStatus
    delay: timedelta | None
    attempt: str


async def lease(
    pool: asyncpg.Pool, org_id: OrgId | None, capacities: Mapping[Endpoint, int], limit: int, policy: DeliveryPolicy
) -> list[LeasedDelivery]:
    """Lease at most `limit` due deliveries of an organization (None: of all), per endpoint at most its capacity."""
    known: dict[str, dict[str, int]] = defaultdict(dict)
    for (endpoint_org_id, webhook_id), capacity in capacities.items():
        known[str(endpoint_org_id)][webhook_id] = capacity
    start_by = time.monotonic() + policy.longest_wait_s
    rows = await pool.fetch(
        _SQL["lease"], known, policy.initial_concurrency, limit, uuid4(), policy.lease, policy.breaker_failures, org_id
    )
    events = {(row["org_id"], row["event_id"]): EventToDeliver(*row[_EVENT:]) for row in rows if row["type"]}
    found = ((row, events.get((row["org_id"], row["event_id"]))) for row in rows)
    return [LeasedDelivery._make((*row[:_EVENT], event, start_by)) for row, event in found if event]


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


async def release(pool: asyncpg.Pool, leased: Sequence[LeasedDelivery]) -> None:
    """Make leased deliveries that weren't attempted due again."""
    keys = [(delivery.org_id, delivery.webhook_id, delivery.delivery_id, delivery.token) for delivery in leased]
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


async def lock_planned(connection: Connection, now: datetime | None) -> Endpoint | None:
    """Lock one enabled webhook with notices that are due at this time, or now, until the transaction ends."""
    row = await connection.fetchrow(_SQL["lock_planned"], now)
    return (OrgId(row["org_id"]), row["webhook_id"]) if row else None


async def read_clock(connection: Connection) -> datetime:
    """Return the time of the database, which is later than the plans that earlier locks protected."""
    return cast("datetime", await connection.fetchval(_SQL["read_clock"]))


async def plan(connection: Connection, endpoint: Endpoint, now: datetime) -> None:
    """Create the deliveries of the next notices, and hold those that are repeated or above the limit."""
    await connection.execute(_SQL["plan"], *endpoint, now)


async def summarize(connection: Connection, endpoint: Endpoint, now: datetime, event_id: str) -> list[asyncpg.Record]:
    """Assign all held notices to the summary with this ID, if it's due, and return their counts."""
    return await connection.fetch(_SQL["summarize"], *endpoint, now, event_id)


async def find_events(connection: Connection, org_id: OrgId, event_ids: Sequence[str]) -> list[asyncpg.Record]:
    """Return the type, project, and data of events, oldest first."""
    return await connection.fetch(_SQL["find_events"], org_id, event_ids)


async def list_deliveries(
    connection: Connection, org_id: OrgId, webhook_id: str, before: str | None, status: str | None, limit: int
) -> RowPage[WebhookDelivery, str]:
    """Return a page of deliveries, newest event first, after the delivery with the ID `before`."""
    values = {"org_id": org_id, "webhook_id": webhook_id, "status": status}
    return await page_by_id(connection, "listed_deliveries", "dlv", before, limit, values)


async def find_delivery(
    connection: Connection, org_id: OrgId, webhook_id: str, delivery_id: str
) -> WebhookDelivery | None:
    """Return one delivery, or None if it doesn't exist."""
    values = {"org_id": org_id, "webhook_id": webhook_id, "delivery_id": delivery_id}
    found: WebhookDelivery | None = await find_object(connection, "one_delivery", values)
    return found
