"""The files that each key has uploaded today, in UTC."""

from typing import Final

from service.domain.artifacts import ArtifactUsage
from service.domain.ids import OrgId
from service.store.postgres.database import Connection, Row
from service.store.postgres.statements import statements

_SQL: Final = statements("artifact_usage")


async def find(connection: Connection, org_id: OrgId, key_id: str) -> ArtifactUsage:
    """Return the files that the key has uploaded today."""
    return _usage(await connection.fetchrow(_SQL["find"], org_id, key_id))


async def add(connection: Connection, org_id: OrgId, key_id: str, files: int, size: int) -> ArtifactUsage:
    """Add uploaded files with `size` bytes together, and return all files of today. Locks the row of the key."""
    return _usage(await connection.fetchrow(_SQL["add"], org_id, key_id, files, size))


async def delete_expired(connection: Connection, limit: int) -> int:
    """Delete at most `limit` rows of earlier days, of all organizations. Return the number deleted."""
    return int(await connection.fetchval(_SQL["delete_expired"], limit))


def _usage(row: Row | None) -> ArtifactUsage:
    if row is None:
        raise LookupError("the statement returned no row")
    return ArtifactUsage(*row)
