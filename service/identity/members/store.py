"""Rows of members, of the people who signed in to the console, and of their sessions."""

from datetime import timedelta
from typing import Final, NamedTuple

from service.database.database import Connection, Pool
from service.database.errors import OutagesAsUnavailable
from service.database.pages import RowPage, find_object, page_by_id
from service.database.statements import statements
from service.domain.ids import OrgId
from service.identity.keys.model import Caller
from service.identity.members.contract import Member
from service.identity.members.model import Identity, Membership, NewMember

_SQL: Final = statements("identity/members")


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


async def insert_member(
    connection: Connection, org_id: OrgId, member_id: str, member: NewMember, created_by: str
) -> bool:
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
    values = {"org_id": org_id, "project_id": project_id}
    return await page_by_id(connection, "listed_members", "mem", before, limit, values)


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


class StoredSession(NamedTuple):
    """The caller of a session, and the membership if the caller is a person."""

    caller: Caller
    member_id: str | None


async def find(pool: Pool, session_sha256: bytes) -> StoredSession | None:
    """Return a session of any organization, or None if the session has ended."""
    async with OutagesAsUnavailable():
        row = await pool.fetchrow(_SQL["find"], session_sha256)
    if row is None:
        return None
    caller = Caller(OrgId(row["org_id"]), row["credential_id"], row["role"], row["project_id"])
    return StoredSession(caller, row["member_id"])


async def insert_session(
    connection: Connection, org_id: OrgId, key_id: str, secret_sha256: bytes, session_sha256: bytes, lifetime: timedelta
) -> bool:
    """Insert a session. Return False if the key isn't valid, or if this isn't the digest of its current secret."""
    row = await connection.fetchval(_SQL["insert_session"], org_id, key_id, secret_sha256, session_sha256, lifetime)
    return row is not None


async def insert_of_person(
    connection: Connection,
    org_id: OrgId,
    person_id: str,
    member_id: str,
    session_sha256: bytes,
    lifetime: timedelta,
    *,
    has_choices: bool,
) -> None:
    """Insert a session of a person, who has just proven to have the membership, and whether there are others."""
    ids = org_id, session_sha256, person_id, member_id
    await connection.execute(_SQL["insert_of_person"], *ids, has_choices, lifetime)


async def has_choices(connection: Connection, org_id: OrgId, session_sha256: bytes) -> bool:
    """Return whether the person of a session can select another membership."""
    return bool(await connection.fetchval(_SQL["has_choices"], org_id, session_sha256))


async def delete(connection: Connection, org_id: OrgId, session_sha256: bytes) -> bool:
    """Delete a session. Return False if it doesn't exist."""
    return await connection.fetchval(_SQL["delete"], org_id, session_sha256) is not None


async def delete_expired(connection: Connection, limit: int) -> int:
    """Delete at most `limit` expired sessions, of all organizations. Return the number deleted."""
    return int(await connection.fetchval(_SQL["delete_expired"], limit))


async def insert_sign_in(pool: Pool, sign_in_sha256: bytes, identity: Identity, lifetime: timedelta) -> None:
    """Insert a person who still has to choose a membership."""
    async with OutagesAsUnavailable():
        await pool.execute(_SQL["insert_sign_in"], sign_in_sha256, identity._asdict(), lifetime)


async def find_sign_in(pool: Pool, sign_in_sha256: bytes) -> Identity | None:
    """Return the person who still has to choose a membership, or None if the sign-in is unknown or has expired."""
    async with OutagesAsUnavailable():
        stored = await pool.fetchval(_SQL["find_sign_in"], sign_in_sha256)
    return None if stored is None else Identity(**{**stored, "groups": tuple(stored["groups"])})


async def delete_sign_in(pool: Pool, sign_in_sha256: bytes) -> None:
    """Delete a sign-in whose person has chosen a membership."""
    async with OutagesAsUnavailable():
        await pool.execute(_SQL["delete_sign_in"], sign_in_sha256)


async def delete_expired_sign_ins(connection: Connection) -> None:
    """Delete the people who chose no membership in time."""
    await connection.execute(_SQL["delete_expired_sign_ins"])
