"""Members of an organization: their sign-in, creation, change, and removal. The caller owns the transactions."""

from collections.abc import Sequence
from typing import Any

from service.contracts.members import Member
from service.domain.errors import Conflict, Forbidden, NotFound, Unauthorized
from service.domain.ids import OrgId, is_id, new_id
from service.domain.keys import Caller
from service.domain.members import MAX_MEMBERS, Identity, Membership, NewMember, strongest_memberships
from service.store import members
from service.store.members import MemberRef
from service.store.postgres.database import Connection, Pool


async def find_memberships(pool: Pool, identity: Identity) -> list[Membership]:
    """Return the memberships of a person, of which the person chooses one, sorted by organization and project.

    A member of an email matches the person who signed in with it first, and before that anyone whose verified email it
    is. A member of a group matches everyone in the group.
    """
    return strongest_memberships(await members.find_memberships(pool, identity))


async def record_sign_in(connection: Connection, membership: Membership, identity: Identity) -> str:
    """Record a person who signs in with a membership, and return the ID of the person (per_…).

    Binds the members with the email of the person to the person. Raises Unauthorized if the membership was removed, or
    bound to another person, since it was found. The connection must be that of the organization of the membership.
    """
    person_id = await members.record_person(connection, membership.org_id, new_id("per"), identity)
    if identity.email is not None:
        await members.bind_email(connection, membership.org_id, person_id, identity.email)
    if not await members.confirm(connection, membership, person_id, list(identity.groups)):
        raise Unauthorized("the membership was removed; sign in again")
    return person_id


def member_ref(caller: Caller, member_id: str) -> MemberRef:
    """Return the reference to a member that the caller can manage. Raises NotFound if the ID is malformed."""
    if not is_id("mem", member_id):
        raise _member_not_found(member_id)
    return MemberRef(caller.org_id, member_id, caller.project_id)


def read_request(caller: Caller, requested: NewMember) -> NewMember:
    """Return the member that a caller requests, whose project is that of the caller if it is bound to one.

    Raises Forbidden for another project.
    """
    if caller.project_id is not None and requested.project_id not in (None, caller.project_id):
        raise _other_project(caller.project_id)
    return requested._replace(project_id=requested.project_id or caller.project_id)


def read_changes(caller: Caller, changes: dict[str, Any]) -> dict[str, Any]:
    """Return the changes of a member that a caller requests. Raises Forbidden for another project."""
    if caller.project_id is not None and changes.get("project_id", caller.project_id) != caller.project_id:
        raise _other_project(caller.project_id)
    return changes


async def create_member(connection: Connection, caller: Caller, member: NewMember) -> Member:
    """Add a member for a caller, and return it. Raises Conflict as `add_member` does."""
    member_id = await add_member(connection, caller.org_id, member, caller.actor_id)
    return await read_member(connection, MemberRef(caller.org_id, member_id, None))


async def add_member(connection: Connection, org_id: OrgId, member: NewMember, created_by: str) -> str:
    """Add a member, and return its ID. Raises Conflict if there is the same one, or if there are `MAX_MEMBERS`."""
    await members.lock_list(connection, org_id)
    if await members.count(connection, org_id) >= MAX_MEMBERS:
        raise Conflict(f"the organization has {MAX_MEMBERS} members, the maximum; add a group instead")
    member_id = new_id("mem")
    if not await members.insert(connection, org_id, member_id, member, created_by):
        raise _already_member(member)
    return member_id


async def change_member(connection: Connection, ref: MemberRef, changes: dict[str, Any]) -> Member:
    """Change the role or the project, also of sessions within five seconds. Raises NotFound, and Conflict."""
    await members.lock_list(connection, ref.org_id)
    found = await members.lock(connection, ref)
    if found is None:
        raise _member_not_found(ref.member_id)
    changed = found._replace(**changes)
    if await members.has_same(connection, ref, changed):
        raise _already_member(changed)
    await members.update(connection, ref, changed)
    return await read_member(connection, ref._replace(project_id=None))


async def remove_member(connection: Connection, ref: MemberRef) -> None:
    """Remove a member, whose sessions end within five seconds. Raises NotFound."""
    if not await members.remove(connection, ref):
        raise _member_not_found(ref.member_id)


async def read_member(connection: Connection, ref: MemberRef) -> Member:
    """Return one member. Raises NotFound."""
    found = await members.find_one(connection, ref)
    if found is None:
        raise _member_not_found(ref.member_id)
    return found


async def list_all_members(connection: Connection, org_id: OrgId) -> Sequence[Member]:
    """Return all members of the organization, newest first."""
    return (await members.list_page(connection, org_id, None, None, MAX_MEMBERS)).rows


def _already_member(member: NewMember) -> Conflict:
    scope = f"of the project {member.project_id!r}" if member.project_id else "of all projects"
    return Conflict(f"{member.describe()} is already a member {scope}; change the role of this member")


def _other_project(project_id: str) -> Forbidden:
    return Forbidden(f"project_id: you can manage only members of the project {project_id!r}")


def _member_not_found(member_id: str) -> NotFound:
    """Return the same error for an ID that is malformed, unknown, removed, or of another organization or project."""
    return NotFound(f"member {member_id[:100]!r} not found")
