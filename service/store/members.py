"""Rows of members and of the people who signed in to the console."""

from collections.abc import Mapping
from typing import Final, NamedTuple

from service.contracts.members import Member
from service.domain.ids import OrgId
from service.domain.members import Identity, Membership, NewMember
from service.store.postgres.database import Connection, OutagesAsUnavailable, Pool
from service.store.postgres.statements import statements
from service.store.queries.pages import RowPage, find_object, page_by_id

_SQL: Final = statements("members")
_AFTER_ALL_IDS: Final = "mem_g"  # IDs continue with hex digits, so this sorts after all of them


class MemberRef(NamedTuple):
    """A member, and the project that it must belong to if the caller is bound to a project."""

    org_id: OrgId
    member_id: str
    project_id: str | None


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


async def lock_list(connection: Connection, org_id: OrgId) -> None:
    """Prevent other transactions from adding or changing members until this one ends."""
    await connection.execute(_SQL["lock_list"], org_id)


async def count(connection: Connection, org_id: OrgId) -> int:
    """Return the number of members."""
    return int(await connection.fetchval(_SQL["count"], org_id))


async def insert(connection: Connection, org_id: OrgId, member_id: str, member: NewMember, created_by: str) -> bool:
    """Add a member. Return False if there is one with the same email or group and the same project."""
    return await connection.fetchval(_SQL["insert"], org_id, member_id, *member, created_by) is not None


async def find_one(connection: Connection, ref: MemberRef) -> Member | None:
    """Return one member, or None if it doesn't exist or was removed."""
    found: Member | None = await find_object(connection, "one_member", ref._asdict())
    return found


async def list_page(
    connection: Connection, org_id: OrgId, project_id: str | None, before: str | None, limit: int
) -> RowPage[Member, str]:
    """Return a page of members, newest first, after the member with the ID `before`, optionally of one project."""
    values: Mapping[str, object] = {
        "org_id": org_id, "project_id": project_id, "before": before or _AFTER_ALL_IDS, "page": limit
    }  # fmt: skip
    return await page_by_id(connection, "listed_members", values)


async def lock(connection: Connection, ref: MemberRef) -> NewMember | None:
    """Return the fields of a member, and lock its row until the transaction ends."""
    row = await connection.fetchrow(_SQL["lock"], *ref)
    return None if row is None else NewMember(*row)


async def has_same(connection: Connection, ref: MemberRef, member: NewMember) -> bool:
    """Return whether another member has the same email or group and the same project."""
    values = member.email, member.group, member.project_id
    return bool(await connection.fetchval(_SQL["has_same"], ref.org_id, ref.member_id, *values))


async def update(connection: Connection, ref: MemberRef, member: NewMember) -> None:
    """Set the role and the project of a locked member."""
    await connection.execute(_SQL["update"], ref.org_id, ref.member_id, member.role, member.project_id)


async def remove(connection: Connection, ref: MemberRef) -> bool:
    """Remove a member. Return False if it doesn't exist or was removed."""
    return await connection.fetchval(_SQL["remove"], *ref) is not None
