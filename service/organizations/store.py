"""Organizations (tenants)."""

from collections.abc import Iterable
from typing import Final

import asyncpg

from service.database.database import Connection
from service.database.statements import statements
from service.domain.errors import Conflict
from service.domain.ids import OrgId

_SQL: Final = statements("organizations")


async def create(connection: Connection, slug: str, name: str) -> OrgId:
    """Create an organization. Raises Conflict if the slug exists."""
    try:
        return OrgId(await connection.fetchval(_SQL["create"], slug, name))
    except asyncpg.UniqueViolationError as error:
        raise Conflict(f"slug: organization {slug!r} already exists") from error


async def list_all(connection: Connection) -> list[asyncpg.Record]:
    """Return all organizations, sorted by slug."""
    return await connection.fetch(_SQL["list_all"])


async def find_by_slugs(connection: Connection, slugs: Iterable[str]) -> dict[str, OrgId]:
    """Return the IDs of the organizations with these slugs. Unknown slugs are missing from the result."""
    rows = await connection.fetch(_SQL["find_by_slugs"], list(slugs))
    return {row["slug"]: OrgId(row["org_id"]) for row in rows}


async def find_slugs(connection: Connection, org_ids: Iterable[OrgId]) -> dict[OrgId, str]:
    """Return the slugs of organizations."""
    rows = await connection.fetch(_SQL["find_slugs"], list(org_ids))
    return {OrgId(row["org_id"]): row["slug"] for row in rows}
