"""Changes that an operator makes on the command line, each in one transaction with its entry in the audit trail."""

from datetime import datetime
from typing import Final

from service.domain.errors import NotFound
from service.domain.ids import OrgId
from service.domain.keys import KeyRole
from service.store import audit, organizations
from service.store.postgres.database import Connection
from service.usecases.administration import keys

ACTOR: Final = "command line"


async def create_organization(connection: Connection, slug: str, name: str) -> None:
    """Makes an organization. Raises Conflict where the slug is taken."""
    async with connection.transaction():
        org_id = await organizations.create(connection, slug, name)
        await audit.insert(connection, org_id, ACTOR, "organizations create", slug)


async def create_key(
    connection: Connection, slug: str, name: str, role: KeyRole, project_id: str | None, expires_at: datetime | None
) -> keys.NewKey:
    """Makes a key of this organization. Raises NotFound where there is no such organization."""
    org_id = await find_organization(connection, slug)
    async with connection.transaction():
        made = await keys.create_key(connection, org_id, name, role, project_id, expires_at)
        await audit.insert(connection, org_id, ACTOR, "keys create", made.key_id)
    return made


async def revoke_key(connection: Connection, slug: str, key_id: str) -> None:
    """Ends a key of this organization. Raises NotFound where there is none to end."""
    org_id = await find_organization(connection, slug)
    async with connection.transaction():
        await keys.revoke_key(connection, org_id, key_id)
        await audit.insert(connection, org_id, ACTOR, "keys revoke", key_id)


async def find_organization(connection: Connection, slug: str) -> OrgId:
    """The organization with this slug. Raises NotFound with what to do."""
    found = await organizations.find_by_slugs(connection, [slug])
    if slug not in found:
        raise NotFound(f"there is no organization {slug!r}; `zof-results organizations create {slug}` makes it")
    return found[slug]
