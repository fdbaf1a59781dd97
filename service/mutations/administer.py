"""Changes by an operator on the command line, each in one transaction with its audit entry."""

from datetime import datetime
from typing import Final

from service.database.database import Connection
from service.domain.errors import NotFound
from service.domain.ids import OrgId
from service.identity.keys import operations as keys_operations
from service.identity.keys.model import KeyRole
from service.identity.members import operations as members_operations
from service.identity.members.model import NewMember
from service.identity.members.store import MemberRef
from service.mutations import store
from service.organizations import store as organizations_store

ACTOR: Final = "command line"


async def create_organization(connection: Connection, slug: str, name: str) -> None:
    """Create an organization. Raises Conflict if the slug exists."""
    async with connection.transaction():
        org_id = await organizations_store.create(connection, slug, name)
        await store.insert_entry(connection, org_id, ACTOR, "organizations create", slug)


async def create_key(
    connection: Connection, slug: str, name: str, role: KeyRole, project_id: str | None, expires_at: datetime | None
) -> keys_operations.NewKey:
    """Create a key of the organization. Raises NotFound if the organization doesn't exist."""
    org_id = await find_organization(connection, slug)
    async with connection.transaction():
        created = await keys_operations.create_key(connection, org_id, name, role, project_id, expires_at)
        await store.insert_entry(connection, org_id, ACTOR, "keys create", created.key_id)
    return created


async def revoke_key(connection: Connection, slug: str, key_id: str) -> None:
    """Revoke a key of the organization. Raises NotFound if it doesn't exist or is already revoked."""
    org_id = await find_organization(connection, slug)
    async with connection.transaction():
        await keys_operations.revoke_key(connection, org_id, key_id)
        await store.insert_entry(connection, org_id, ACTOR, "keys revoke", key_id)


async def add_member(connection: Connection, slug: str, member: NewMember) -> str:
    """Add a member to the organization, and return its ID. Raises NotFound, and Conflict if there is the same one."""
    org_id = await find_organization(connection, slug)
    async with connection.transaction():
        member_id = await members_operations.add_member(connection, org_id, member, ACTOR)
        await store.insert_entry(connection, org_id, ACTOR, "members add", member_id)
    return member_id


async def remove_member(connection: Connection, slug: str, member_id: str) -> None:
    """Remove a member of the organization. Raises NotFound if it doesn't exist or was removed."""
    org_id = await find_organization(connection, slug)
    async with connection.transaction():
        await members_operations.remove_member(connection, MemberRef(org_id, member_id, None))
        await store.insert_entry(connection, org_id, ACTOR, "members remove", member_id)


async def find_organization(connection: Connection, slug: str) -> OrgId:
    """Return the ID of the organization with this slug. Raises NotFound."""
    found = await organizations_store.find_by_slugs(connection, [slug])
    if slug not in found:
        raise NotFound(f"organization {slug!r} not found; create it with `zof-results organizations create {slug}`")
    return found[slug]
