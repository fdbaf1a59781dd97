"""Deliveries as rows: claimed under a lease by one of many dispatchers, recorded under the claim's fence."""

from collections.abc import Mapping, Sequence
from datetime import datetime, timedelta
from typing import Final, NamedTuple
from uuid import UUID, uuid4

import asyncpg

from service.domain.deliveries import DeliveryStatus, Endpoint
from service.domain.endpoint_limiter import INITIAL_WINDOW
from service.domain.ids import OrgId
from service.store.postgres.composition import IdPage, compose, page_by_id
from service.store.postgres.database import Connection
from service.store.postgres.statements import statements

_SQL: Final = statements("deliveries")
_BEHIND_ALL: Final = "dlv_g"  # sorts after every id


class ClaimedDelivery(NamedTuple):
    """A delivery that is ours to try until the lease runs out, with all that the attempt needs."""

    org_id: OrgId
    webhook_id: str
    delivery_id: str
    event_id: str
    attempt_count: int
    claim: UUID
    url: str
    secret: str
    previous_secret: str | None
    type: str
    created_at: datetime
    data: str

    @property
    def endpoint(self) -> Endpoint:
        """Where it goes."""
        return self.org_id, self.webhook_id


class DeliveryUpdate(NamedTuple):
    """What came of one attempt, in the order of the statement's parameters; `attempt` is its JSON for the log."""

    org_id: OrgId
    webhook_id: str
    delivery_id: str
    claim: UUID
    status: DeliveryStatus
    wait: timedelta | None
    attempt: str


async def claim(
    pool: asyncpg.Pool, capacities: Mapping[Endpoint, int], limit: int, lease: timedelta
) -> list[ClaimedDelivery]:
    """Deliveries that are due, for each endpoint at most its capacity."""
    org_ids, webhook_ids = [org_id for org_id, _ in capacities], [webhook_id for _, webhook_id in capacities]
    rows = await pool.fetch(
        _SQL["claim"], org_ids, webhook_ids, list(capacities.values()), INITIAL_WINDOW, limit, uuid4(), lease
    )
    return [ClaimedDelivery(*row) for row in rows]


async def record(connection: Connection, outcomes: Sequence[DeliveryUpdate]) -> None:
    """Writes what came of attempts, and how their endpoints do."""
    await connection.execute(_SQL["record"], *map(list, zip(*outcomes, strict=True)))


async def release(pool: asyncpg.Pool, claimed: Sequence[ClaimedDelivery]) -> None:
    """Makes deliveries due again that were claimed and not attempted."""
    keys = [(one.org_id, one.webhook_id, one.delivery_id, one.claim) for one in claimed]
    await pool.execute(_SQL["release"], *map(list, zip(*keys, strict=True)))


async def insert_test(connection: Connection, org_id: OrgId, webhook_id: str, event_id: str) -> str:
    """A delivery of an event to this webhook alone; returns its id."""
    return str(await connection.fetchval(_SQL["insert_test"], org_id, webhook_id, event_id))


async def reopen(connection: Connection, org_id: OrgId, webhook_id: str, delivery_id: str) -> bool:
    """Makes a delivery due now, with all its attempts; False where there is none."""
    return await connection.fetchval(_SQL["reopen"], org_id, webhook_id, delivery_id) is not None


async def exhaust_pending(connection: Connection, org_id: OrgId, webhook_id: str) -> None:
    """Gives up what still waits for a webhook."""
    await connection.execute(_SQL["exhaust_pending"], org_id, webhook_id)


async def list_page(
    connection: Connection, org_id: OrgId, webhook_id: str, before: str | None, status: str | None, limit: int
) -> IdPage:
    """Deliveries older than the one with the id `before`, newest event first."""
    values = {
        "org_id": org_id, "webhook_id": webhook_id, "before": before or _BEHIND_ALL, "status": status, "page": limit,
    }  # fmt: skip
    return await page_by_id(connection, "listed_deliveries", values)


async def find_one(connection: Connection, org_id: OrgId, webhook_id: str, delivery_id: str) -> str | None:
    """One delivery as JSON."""
    values = {"org_id": org_id, "webhook_id": webhook_id, "delivery_id": delivery_id}
    found: str | None = await compose("one_delivery").fetch_value(connection, values)
    return found
