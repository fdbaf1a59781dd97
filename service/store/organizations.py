"""Organizations: the tenants."""

from collections.abc import Iterable
from typing import Final

import asyncpg

from service.domain.errors import Conflict
from service.domain.ids import OrgId
from service.store.postgres.database import Connection
from service.store.postgres.statements import statements

_SQL: Final = statements("organizations")


async def create(connection: Connection, slug: str, name: str) -> OrgId:
    """Makes an organization. Raises Conflict where the slug is taken."""
    try:
        return OrgId(await connection.fetchval(_SQL["create"], slug, name))
    except asyncpg.UniqueViolationError as error:
        raise Conflict(f"there is an organization {slug!r} already") from error


async def list_all(connection: Connection) -> list[asyncpg.Record]:
    """Every organization, by slug."""
    return await connection.fetch(_SQL["list_all"])


async def find_by_slugs(connection: Connection, slugs: Iterable[str]) -> dict[str, OrgId]:
    """The organizations among these slugs."""
    rows = await connection.fetch(_SQL["find_by_slugs"], list(slugs))
    return {row["slug"]: OrgId(row["org_id"]) for row in rows}


async def exists(connection: Connection, org_id: OrgId) -> bool:
    """Whether there is such an organization."""
    return await connection.fetchval(_SQL["exists"], org_id) is not None
