"""Deletion of all rows of an organization: those of partitions as their owner, and all others as the worker."""

from collections.abc import Collection, Iterator
from contextlib import contextmanager
from typing import Final

import asyncpg

from service.domain.bounded_cache import BoundedCache
from service.domain.ids import OrgId
from service.store.postgres.database import Connection, RowDeleted
from service.store.postgres.engines import engine_of
from service.store.postgres.statements import statements

_SQL: Final = statements("organization_deletions")
_REFERENCE: Final = "_org_id_fkey"  # the end of the name of each foreign key to organizations

CLOSED_SUFFIX: Final = ":deleted"  # no slug of an event contains a colon


async def close(connection: Connection, org_id: OrgId) -> None:
    """Rename the organization, so that events no longer find it, and delete its keys, publishers, and members.

    Can be repeated.
    """
    async with connection.transaction():
        await connection.execute(_SQL["close"], org_id, CLOSED_SUFFIX)
        await connection.execute(_SQL["delete_keys"], org_id)
        await connection.execute(_SQL["delete_members"], org_id)
        await connection.execute(_SQL["delete_publishers"], org_id)


async def find_statements(connection: Connection, limit: int, *, of_partitions: bool) -> list[str]:
    """Return one statement for each table, for `delete_some`, in an order that respects the foreign keys."""
    return [row["statement"] for row in await connection.fetch(_SQL["find_statements"], limit, of_partitions)]


async def delete_some(connection: Connection, statement: str, org_id: OrgId) -> int:
    """Delete rows of one table, and return their number."""
    return int(await connection.fetchval(statement, org_id))


async def lock(connection: Connection, org_id: OrgId) -> None:
    """Lock the organization, so that no transaction can insert rows that refer to it."""
    await connection.execute(_SQL["lock"], org_id)


async def delete_organization(connection: Connection, org_id: OrgId) -> None:
    """Delete the organization itself."""
    await connection.execute(_SQL["delete"], org_id)


class OrganizationDeleted(RowDeleted):
    """An organization was deleted before a row that refers to it was stored."""


async def prevent_deletion(connection: Connection, org_ids: Collection[OrgId]) -> None:
    """Delay a deletion of the organizations until the rows that the transaction inserts are committed.

    Raises OrganizationDeleted. On PostgreSQL, the foreign keys do both. On Citus, distributed tables have none.
    """
    if engine_of(connection).is_distributed:
        locked = await connection.fetch(_SQL["prevent_deletion"], list(org_ids))
        if len(locked) < len(org_ids):
            raise OrganizationDeleted(f"one of the organizations {sorted(org_ids)} was deleted")


@contextmanager
def evicting_deleted(known: BoundedCache[str, OrgId]) -> Iterator[None]:
    """Evict the known organizations if a transaction in the block refers to a deleted one.

    Raises OrganizationDeleted, so that the transaction is repeated with the organizations that exist.
    """
    try:
        yield
    except OrganizationDeleted:
        known.clear()
        raise
    except asyncpg.ForeignKeyViolationError as error:
        if not str(error.constraint_name).endswith(_REFERENCE):
            raise
        known.clear()
        raise OrganizationDeleted(f"an organization was deleted: {error}") from error
