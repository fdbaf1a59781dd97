"""Webhooks as rows, and the jobs that bring back what they have missed."""

from collections.abc import Iterable
from datetime import datetime, timedelta
from typing import Final, NamedTuple

import asyncpg

from service.domain.deliveries import Endpoint
from service.domain.ids import OrgId
from service.store.postgres.composition import IdPage, compose, page_by_id
from service.store.postgres.database import Connection
from service.store.postgres.statements import statements

_SQL: Final = statements("webhooks")
_BEHIND_ALL: Final = "whk_g"  # sorts after every id


class WebhookFields(NamedTuple):
    """What its owner says of a webhook, in the order of the columns."""

    url: str
    description: str
    events: list[str]
    project_id: str | None
    enabled: bool


class ClaimedRecovery(NamedTuple):
    """A recovery under way: events up to `position` have been looked at."""

    org_id: OrgId
    webhook_id: str
    recovery_id: str
    position: str
    until: datetime


async def insert(connection: Connection, org_id: OrgId, webhook_id: str, described: WebhookFields, secret: str) -> None:
    """Stores a new webhook."""
    await connection.execute(_SQL["insert"], org_id, webhook_id, *described, secret)


async def find_one(connection: Connection, org_id: OrgId, webhook_id: str, project_id: str | None) -> str | None:
    """One webhook as JSON, without its secrets. With a project: only where it is bound to that."""
    values = {"org_id": org_id, "webhook_id": webhook_id, "project_id": project_id}
    found: str | None = await compose("one_webhook").fetch_value(connection, values)
    return found


async def list_page(
    connection: Connection, org_id: OrgId, project_id: str | None, before: str | None, limit: int
) -> IdPage:
    """Webhooks older than the one with the id `before`, newest first."""
    values = {"org_id": org_id, "project_id": project_id, "before": before or _BEHIND_ALL, "page": limit}
    return await page_by_id(connection, "listed_webhooks", values)


async def lock(connection: Connection, org_id: OrgId, webhook_id: str, project_id: str | None) -> WebhookFields | None:
    """What is said of a webhook, which nobody else changes until the transaction ends."""
    row = await connection.fetchrow(_SQL["lock"], org_id, webhook_id, project_id)
    return WebhookFields(*row) if row else None


async def update(connection: Connection, org_id: OrgId, webhook_id: str, described: WebhookFields) -> None:
    """Replaces what is said of a webhook."""
    await connection.execute(_SQL["update"], org_id, webhook_id, *described)


async def delete(connection: Connection, org_id: OrgId, webhook_id: str, project_id: str | None) -> bool:
    """Deletes a webhook with its deliveries; False where there is none."""
    return await connection.fetchval(_SQL["delete"], org_id, webhook_id, project_id) is not None


async def rotate_secret(connection: Connection, org_id: OrgId, webhook_id: str, secret: str) -> None:
    """Signs with a new secret from now on, and with the one before for 24 hours."""
    await connection.execute(_SQL["rotate_secret"], org_id, webhook_id, secret)


async def disable(connection: Connection, endpoint: Endpoint, reason: str) -> asyncpg.Record | None:
    """Switches a webhook off; returns url, description, project_id, failing_since, or None where it was off already."""
    return await connection.fetchrow(_SQL["disable"], *endpoint, reason)


async def find_failing(connection: Connection, asked: Iterable[Endpoint], limit: timedelta) -> list[Endpoint]:
    """Which of these have failed for longer than the limit, without one success."""
    rows = await connection.fetch(_SQL["find_failing"], *map(list, zip(*asked, strict=True)), limit)
    return [(OrgId(row["org_id"]), row["webhook_id"]) for row in rows]


async def insert_recovery(
    connection: Connection, org_id: OrgId, webhook_id: str, recovery_id: str, since: datetime
) -> None:
    """Stores a recovery for the dispatcher to carry out."""
    await connection.execute(_SQL["insert_recovery"], org_id, webhook_id, recovery_id, since)


async def find_recovery(connection: Connection, org_id: OrgId, webhook_id: str, recovery_id: str) -> str | None:
    """One recovery as JSON."""
    found: str | None = await connection.fetchval(_SQL["find_recovery"], org_id, webhook_id, recovery_id)
    return found


async def claim_recovery(connection: Connection) -> ClaimedRecovery | None:
    """The oldest unfinished recovery that nobody works at; held until the transaction ends."""
    row = await connection.fetchrow(_SQL["claim_recovery"])
    return ClaimedRecovery(*row) if row else None


async def recover_step(connection: Connection, recovery: ClaimedRecovery, limit: int) -> bool:
    """Looks at so many further events and opens what was missed. Returns whether the recovery is finished."""
    org_id, webhook_id, recovery_id, position, until = recovery
    row = await connection.fetchrow(_SQL["recover_step"], org_id, webhook_id, position, until, limit)
    if row is None:
        raise AssertionError("a SELECT of aggregates returns a row")
    is_finished: bool = row["examined"] < limit
    await connection.execute(
        _SQL["advance_recovery"], org_id, webhook_id, recovery_id, row["last"], row["recovered"], is_finished
    )
    return is_finished
