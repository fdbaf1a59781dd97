"""Queries for webhooks and for recoveries, the jobs that reopen missed deliveries."""

from collections.abc import Iterable
from datetime import datetime, timedelta
from typing import Final, NamedTuple

import asyncpg
import orjson

from service.contracts.responses import Recovery, Webhook
from service.domain.deliveries import Endpoint
from service.domain.events import EVENT_TYPES, INTERNAL_TYPES
from service.domain.ids import OrgId
from service.domain.signatures import ROTATION_OVERLAP
from service.store.postgres.database import Connection
from service.store.postgres.statements import statements
from service.store.queries.pages import RowPage, find_object, page_by_id

_SQL: Final = statements("webhooks")
_AFTER_ALL_IDS: Final = "whk_g"  # IDs continue with hex digits, so this sorts after all of them


class WebhookFields(NamedTuple):
    """The fields that the owner of a webhook sets, in the order of the columns."""

    url: str
    description: str
    events: list[str]
    project_id: str | None
    enabled: bool


class StoredSecrets(NamedTuple):
    """The secrets of a webhook as stored: encrypted or plain text. The previous secret is None after it expired."""

    org_id: OrgId
    webhook_id: str
    secret: str
    previous_secret: str | None


class ClaimedRecovery(NamedTuple):
    """A recovery that this transaction has claimed. The events up to `position` have been examined."""

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


async def find_one(connection: Connection, org_id: OrgId, webhook_id: str, project_id: str | None) -> Webhook | None:
    """Return one webhook without its secrets. With a project, it must be bound to that project."""
    values = {"org_id": org_id, "webhook_id": webhook_id, "project_id": project_id, "sent_types": EVENT_TYPES}
    found: Webhook | None = await find_object(connection, "one_webhook", values)
    return found


async def list_page(
    connection: Connection, org_id: OrgId, project_id: str | None, before: str | None, limit: int
) -> RowPage[Webhook, str]:
    """Return a page of webhooks, newest first, after the webhook with the ID `before`."""
    values = {
        "org_id": org_id, "project_id": project_id, "before": before or _AFTER_ALL_IDS, "page": limit,
        "sent_types": EVENT_TYPES,
    }  # fmt: skip
    return await page_by_id(connection, "listed_webhooks", values)


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


async def claim_recovery(connection: Connection) -> ClaimedRecovery | None:
    """Claim the oldest unfinished recovery that no other worker has claimed, until the transaction ends."""
    row = await connection.fetchrow(_SQL["claim_recovery"])
    return ClaimedRecovery(*row) if row else None


async def recover_step(connection: Connection, recovery: ClaimedRecovery, limit: int) -> bool:
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
