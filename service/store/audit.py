"""Rows of the audit trail: actor, action, subject, and time of every change."""

from collections.abc import Sequence
from typing import Final

from service.domain.ids import OrgId
from service.store.postgres.composition import compose
from service.store.postgres.database import Connection, Row
from service.store.postgres.statements import statements

_SQL: Final = statements("audit")


async def insert(
    connection: Connection,
    org_id: OrgId,
    actor: str,
    action: str,
    subject: str | None,
    request_id: str | None = None,
    job: str | None = None,
) -> None:
    """Insert an entry. Call this in the transaction of the change.

    `job` is the CI job, if the actor is a publisher.
    """
    await connection.execute(_SQL["insert"], org_id, actor, action, subject, request_id, job)


async def list_newest(connection: Connection, org_id: OrgId, limit: int) -> Sequence[Row]:
    """Return the newest entries (at, actor, action, subject, request_id, actor_name, job), newest first.

    The name is that of the key, publisher, or person. It is None for the command line, and for an erased person.
    """
    return await compose("newest_audit_entries").fetch_rows(connection, {"org_id": org_id, "page": limit})
