"""Organizations for an operator on the command line, who states their slugs."""

from typing import Final

from service.database.database import Connection
from service.domain.errors import NotFound
from service.domain.ids import OrgId
from service.mutations import store as mutations_store
from service.organizations import store

ACTOR: Final = "command line"  # the operator in the audit trail


async def create_organization(connection: Connection, slug: str, name: str) -> None:
    """Create an organization. Raises Conflict if the slug exists."""
    async with connection.transaction():
        org_id = await store.create(connection, slug, name)
        await mutations_store.insert_entry(connection, org_id, ACTOR, "organizations create", slug)


async def find_organization(connection: Connection, slug: str) -> OrgId:
    """Return the ID of the organization with this slug. Raises NotFound."""
    found = await store.find_by_slugs(connection, [slug])
    if slug not in found:
        raise NotFound(f"organization {slug!r} not found; create it with `zof-results organizations create {slug}`")
    return found[slug]
