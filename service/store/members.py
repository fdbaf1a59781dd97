"""Rows of members and of the people who signed in to the console."""

from typing import Final

from service.domain.ids import OrgId
from service.domain.members import Identity, Membership
from service.store.postgres.database import Connection, OutagesAsUnavailable, Pool
from service.store.postgres.statements import statements

_SQL: Final = statements("members")


async def find_memberships(pool: Pool, identity: Identity) -> list[Membership]:
    """Return the memberships of a person in all organizations."""
    values = identity.issuer, identity.subject, identity.email, list(identity.groups)
    async with OutagesAsUnavailable():
        rows = await pool.fetch(_SQL["find_memberships"], *values)
    return [Membership(*row) for row in rows]


async def record_person(connection: Connection, org_id: OrgId, person_id: str, identity: Identity) -> str:
    """Insert a person with this ID, or update the known person. Return the ID of the person."""
    values = identity.issuer, identity.subject, identity.email, identity.name
    return str(await connection.fetchval(_SQL["record_person"], org_id, person_id, *values))


async def bind_email(connection: Connection, org_id: OrgId, person_id: str, email: str) -> None:
    """Bind the members with this email to the person, unless they are bound to another person."""
    await connection.execute(_SQL["bind_email"], org_id, person_id, email)


async def confirm(connection: Connection, membership: Membership, person_id: str, groups: list[str]) -> bool:
    """Return whether the person can use the membership, and record its use."""
    org_id, member_id = membership.org_id, membership.member_id
    return await connection.fetchval(_SQL["confirm"], org_id, member_id, person_id, groups) is not None


async def touch(connection: Connection, org_id: OrgId, member_id: str, person_id: str) -> None:
    """Set the times at which the member and the person were last seen, at most once per minute."""
    await connection.execute(_SQL["touch_member"], org_id, member_id)
    await connection.execute(_SQL["touch_person"], org_id, person_id)


async def find_person_name(connection: Connection, org_id: OrgId, person_id: str) -> str | None:
    """Return the name of a person, else the email. None if neither is known, or the person was erased."""
    row = await connection.fetchrow(_SQL["find_person"], org_id, person_id)
    return None if row is None else row["name"] or row["email"]
