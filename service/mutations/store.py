"""Rows of the audit trail: actor, action, subject, and time of every change."""

from collections.abc import Sequence
from hashlib import sha256
from typing import Final

from service.database.database import Connection, Row
from service.database.statements import compose, statements
from service.domain.ids import OrgId
from service.mutations.model import Mutation, StoredResponse

_SQL: Final = statements("mutations")


async def insert_entry(
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


async def try_lock(connection: Connection, mutation: Mutation) -> bool:
    """Lock the key until the transaction ends. Return False if another transaction has the lock."""
    locked: bool = await connection.fetchval(_SQL["try_lock"], *_key_columns(mutation))
    return locked


async def find(connection: Connection, mutation: Mutation) -> tuple[bytes, StoredResponse] | None:
    """Return the fingerprint and response that were stored with the key in the last 24 hours, if any."""
    row = await connection.fetchrow(_SQL["find"], *_key_columns(mutation))
    return None if row is None else (row["request_sha256"], StoredResponse(row["status"], row["body"], row["location"]))


async def insert_response(connection: Connection, mutation: Mutation, response: StoredResponse) -> None:
    """Store the response with the key."""
    body = response.body if response.stored_body is None else response.stored_body
    await connection.execute(
        _SQL["insert_response"], *_key_columns(mutation), mutation.fingerprint, response.status, body, response.location
    )


async def delete_expired(connection: Connection, limit: int) -> int:
    """Delete at most `limit` responses older than 24 hours, of all organizations. Return the number deleted."""
    return int(await connection.fetchval(_SQL["delete_expired"], limit))


def _key_columns(mutation: Mutation) -> tuple[object, ...]:
    path_sha256 = sha256(mutation.path.encode(errors="surrogatepass")).digest()
    return mutation.org_id, mutation.key_holder or mutation.actor, mutation.method, path_sha256, mutation.key
