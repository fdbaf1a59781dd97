"""Stored responses by Idempotency-Key, API key, method, and path."""

from hashlib import sha256
from typing import Final

from service.domain.responses import Mutation, StoredResponse
from service.store.postgres.database import Connection
from service.store.postgres.statements import statements

_SQL: Final = statements("idempotency")


async def try_lock(connection: Connection, mutation: Mutation) -> bool:
    """Lock the key until the transaction ends. Return False if another transaction has the lock."""
    locked: bool = await connection.fetchval(_SQL["try_lock"], *_key_columns(mutation))
    return locked


async def find(connection: Connection, mutation: Mutation) -> tuple[bytes, StoredResponse] | None:
    """Return the fingerprint and response that were stored with the key in the last 24 hours, if any."""
    row = await connection.fetchrow(_SQL["find"], *_key_columns(mutation))
    return None if row is None else (row["request_sha256"], StoredResponse(row["status"], row["body"], row["location"]))


async def insert(connection: Connection, mutation: Mutation, response: StoredResponse) -> None:
    """Store the response with the key."""
    body = response.body if response.stored_body is None else response.stored_body
    await connection.execute(
        _SQL["insert"], *_key_columns(mutation), mutation.fingerprint, response.status, body, response.location
    )


async def delete_expired(connection: Connection, limit: int) -> int:
    """Delete at most `limit` responses older than 24 hours, of all organizations. Return the number deleted."""
    return int(await connection.fetchval(_SQL["delete_expired"], limit))


def _key_columns(mutation: Mutation) -> tuple[object, ...]:
    path_sha256 = sha256(mutation.path.encode(errors="surrogatepass")).digest()
    return mutation.org_id, mutation.key_holder or mutation.actor, mutation.method, path_sha256, mutation.key
