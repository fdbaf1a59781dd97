"""Rows of the API keys that CI jobs receive for their ID tokens."""

from datetime import timedelta
from typing import Final, NamedTuple

from service.domain.ids import OrgId
from service.domain.keys import KeyRole
from service.domain.publishers import JobClaims
from service.store.postgres.database import Connection
from service.store.postgres.statements import statements

_SQL: Final = statements("job_keys")


class TokenUse(NamedTuple):
    """The number of keys that a token was exchanged for, and whether they were revoked, which ends the token."""

    keys: int
    revoked: bool


async def lock_token(connection: Connection, org_id: OrgId, token_sha256: bytes) -> TokenUse:
    """Lock the token until the transaction ends, and return its use."""
    await connection.execute(_SQL["lock_token"], org_id, token_sha256)
    [row] = await connection.fetch(_SQL["count_of_token"], org_id, token_sha256)
    return TokenUse(*row)


async def lock_token_of_key(connection: Connection, org_id: OrgId, key_id: str) -> None:
    """Lock the token of a key until the transaction ends, if it's the key of a job."""
    await connection.execute(_SQL["lock_token_of_key"], org_id, key_id)


async def insert(
    connection: Connection,
    org_id: OrgId,
    key_id: str,
    name: str,
    role: KeyRole,
    project_id: str,
    secret_sha256: bytes,
    lifetime: timedelta,
    token_sha256: bytes,
    job: JobClaims,
) -> None:
    """Insert the key of a job."""
    values = org_id, key_id, name, role, project_id, secret_sha256, lifetime, job.publisher_id, token_sha256
    await connection.execute(_SQL["insert"], *values, job._asdict())


async def delete_expired(connection: Connection, after: timedelta, limit: int) -> int:
    """Delete at most `limit` keys that expired longer ago than `after`, of all organizations. Return the number."""
    return int(await connection.fetchval(_SQL["delete_expired"], after, limit))
