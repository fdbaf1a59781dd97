"""Members of an organization, and sessions of the console. The caller owns the transactions."""

from collections.abc import Sequence
from typing import Any, Final

from service.contracts.queries import PageQuery
from service.database.database import Connection, Pool, as_organization
from service.database.pages import ListPage, read_page_by_id
from service.domain.errors import Conflict, Forbidden, Unauthorized
from service.domain.ids import OrgId, new_id
from service.domain.object_kinds import ObjectKind
from service.identity.keys import store as keys_store
from service.identity.keys.model import Caller, secret_digest
from service.identity.members import store
from service.identity.members.contract import Member
from service.identity.members.model import MAX_MEMBERS, SESSION_LIFETIME, NewMember, Session, session_digest
from service.identity.members.store import MemberRef
from service.mutations import store as mutations_store
from service.organizations import store as organizations_store
from service.organizations.operations import ACTOR, find_organization

_MEMBER: Final = ObjectKind("member", "mem")


async def list_members(pool: Pool, caller: Caller, query: PageQuery) -> ListPage[Member]:
    """Return members, newest first. Raises InvalidRequest for a cursor of another list."""
    return await read_page_by_id(pool, caller, _MEMBER, query, store.list_page)


async def find_member(pool: Pool, caller: Caller, member_id: str) -> Member:
    """Return one member. Raises NotFound."""
    ref = member_ref(caller, member_id)
    async with as_organization(pool, caller.org_id) as connection:
        return await read_member(connection, ref)


async def read_member(connection: Connection, ref: MemberRef) -> Member:
    """Return one member. Raises NotFound."""
    return _MEMBER.require(await store.find_one(connection, ref), ref.member_id)


def member_ref(caller: Caller, member_id: str) -> MemberRef:
    """Return the reference to a member that the caller can manage. Raises NotFound if the ID is malformed."""
    return MemberRef(caller.org_id, _MEMBER.check_id(member_id), caller.project_id)


def read_request(caller: Caller, requested: NewMember) -> NewMember:
    """Return the member that a caller requests, whose project is the project of the caller if it is bound to one.

    Raises Forbidden for another project.
    """
    return requested._replace(project_id=caller.choose_project(requested.project_id, _refusal(caller)))


async def create_member(connection: Connection, caller: Caller, member: NewMember) -> Member:
    """Add a member for a caller, and return it. Raises Conflict as `add_member` does."""
    member_id = await add_member(connection, caller.org_id, member, caller.actor_id)
    return await read_member(connection, MemberRef(caller.org_id, member_id, None))


async def add_member(connection: Connection, org_id: OrgId, member: NewMember, created_by: str) -> str:
    """Add a member, and return its ID. Raises Conflict if there is the same one, or if there are `MAX_MEMBERS`."""
    await store.lock_list(connection, org_id)
    if await store.count(connection, org_id) >= MAX_MEMBERS:
        raise Conflict(f"the organization has {MAX_MEMBERS} members, the maximum; add a group instead")
    member_id = new_id("mem")
    if not await store.insert_member(connection, org_id, member_id, member, created_by):
        raise _already_member(member)
    return member_id


def read_changes(caller: Caller, changes: dict[str, Any]) -> dict[str, Any]:
    """Return the changes of a member that a caller requests. Raises Forbidden for another project."""
    if caller.project_id is not None and changes.get("project_id", caller.project_id) != caller.project_id:
        raise Forbidden(f"project_id: {_refusal(caller)}")
    return changes


async def change_member(connection: Connection, ref: MemberRef, changes: dict[str, Any]) -> Member:
    """Change the role or the project, also of sessions within five seconds. Raises NotFound, and Conflict."""
    await store.lock_list(connection, ref.org_id)
    found = _MEMBER.require(await store.lock(connection, ref), ref.member_id)
    changed = found._replace(**changes)
    if await store.has_same(connection, ref, changed):
        raise _already_member(changed)
    await store.update(connection, ref, changed)
    return await read_member(connection, ref._replace(project_id=None))


def _already_member(member: NewMember) -> Conflict:
    scope = f"of the project {member.project_id!r}" if member.project_id else "of all projects"
    return Conflict(f"{member.describe()} is already a member {scope}; change the role of this member")


def _refusal(caller: Caller) -> str:
    return f"you can manage only members of the project {caller.project_id!r}"


async def remove_member(connection: Connection, ref: MemberRef) -> None:
    """Remove a member, whose sessions end within five seconds. Raises NotFound."""
    if not await store.remove(connection, ref):
        raise _MEMBER.not_found(ref.member_id)


async def list_as_operator(connection: Connection, slug: str) -> Sequence[Member]:
    """Return all members of an organization, newest first. Raises NotFound."""
    org_id = await find_organization(connection, slug)
    return (await store.list_page(connection, org_id, None, None, MAX_MEMBERS)).rows


async def add_as_operator(connection: Connection, slug: str, member: NewMember) -> str:
    """Add a member on the command line, and return its ID. Raises NotFound, and Conflict as `add_member` does."""
    org_id = await find_organization(connection, slug)
    async with connection.transaction():
        member_id = await add_member(connection, org_id, member, ACTOR)
        await mutations_store.insert_entry(connection, org_id, ACTOR, "members add", member_id)
    return member_id


async def remove_as_operator(connection: Connection, slug: str, member_id: str) -> None:
    """Remove a member of an organization. Raises NotFound if it doesn't exist or was removed."""
    org_id = await find_organization(connection, slug)
    async with connection.transaction():
        await remove_member(connection, MemberRef(org_id, member_id, None))
        await mutations_store.insert_entry(connection, org_id, ACTOR, "members remove", member_id)


async def sign_in(connection: Connection, caller: Caller, secret: str, session_id: str) -> None:
    """Create a session of an authenticated key, and store only the digest of its ID.

    Raises Unauthorized if the secret isn't the current one: the previous secret of a rotated key is valid for requests,
    but a session ends with its secret. The cache of keys can also contain a key that was revoked a few seconds ago.
    """
    if caller.job is not None or caller.is_public:
        raise Unauthorized("key: this key is one of a CI job; use your own key")
    digests = secret_digest(secret), session_digest(session_id)
    if not await store.insert_session(connection, caller.org_id, caller.credential_id, *digests, SESSION_LIFETIME):
        raise Unauthorized("key: the API key was rotated or revoked, or has expired; use a current key")


async def find_session(pool: Pool, session_id: str) -> Session | None:
    """Return a session, and record the use of its key or membership. None if it has ended or doesn't exist."""
    digest = session_digest(session_id)
    stored = await store.find(pool, digest)
    if stored is None:
        return None
    caller, member_id = stored
    has_choices = False
    async with as_organization(pool, caller.org_id) as connection:
        slugs = await organizations_store.find_slugs(connection, [caller.org_id])
        if member_id is None:
            await keys_store.touch(connection, caller.org_id, caller.credential_id)
            name = await keys_store.find_name(connection, caller.org_id, caller.credential_id)
        else:
            await store.touch(connection, caller.org_id, member_id, caller.credential_id)
            name = await store.find_person_name(connection, caller.org_id, caller.credential_id)
            name = name or caller.credential_id
            has_choices = await store.has_choices(connection, caller.org_id, digest)
    slug = slugs.get(caller.org_id)
    if slug is None or name is None:  # the organization was deleted concurrently
        return None
    return Session(caller, slug, name, member_id, has_choices)


async def sign_out(connection: Connection, caller: Caller, session_id: str) -> None:
    """End a session. Nothing changes if it has already ended."""
    await store.delete(connection, caller.org_id, session_digest(session_id))


async def end_session(pool: Pool, caller: Caller, session_id: str) -> None:
    """End the session of a browser that has signed in again, which doesn't know its ID anymore."""
    async with as_organization(pool, caller.org_id) as connection:
        await store.delete(connection, caller.org_id, session_digest(session_id))
