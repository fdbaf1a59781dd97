"""Answers that are kept under an Idempotency-Key."""

from typing import Final

from service.domain.responses import Mutation, StoredResponse
from service.store.postgres.database import Connection
from service.store.postgres.statements import statements

_SQL: Final = statements("idempotency")


async def try_lock(connection: Connection, mutation: Mutation) -> bool:
    """Takes the key until the transaction ends; False where another transaction has it."""
    taken: bool = await connection.fetchval(_SQL["try_lock"], *_address(mutation))
    return taken


async def find(connection: Connection, mutation: Mutation) -> tuple[bytes, StoredResponse] | None:
    """The fingerprint and the answer that are kept under the key, if any of the last 24 hours."""
    row = await connection.fetchrow(_SQL["find"], *_address(mutation))
    return None if row is None else (row["request_sha256"], StoredResponse(row["status"], row["body"], row["location"]))


async def keep(connection: Connection, mutation: Mutation, answer: StoredResponse) -> None:
    """Keeps the answer under the key."""
    body = answer.body if answer.stored_body is None else answer.stored_body
    await connection.execute(
        _SQL["keep"], *_address(mutation), mutation.fingerprint, answer.status, body, answer.location
    )


async def prune(connection: Connection, limit: int) -> int:
    """Forgets at most so many answers that are older than a day, of all organizations; returns how many."""
    return int(await connection.fetchval(_SQL["prune"], limit))


def _address(mutation: Mutation) -> tuple[object, ...]:
    return mutation.org_id, mutation.method, mutation.path, mutation.key
