"""API keys: the list, creation, rotation, and revocation in a transaction of the caller, and the key of a request."""

from collections.abc import Collection
from datetime import UTC, datetime, timedelta
from typing import Final, NamedTuple

from service.contracts.queries import PageQuery
from service.database.database import Connection, Pool, as_organization
from service.database.pages import ListPage, read_page_by_id
from service.domain.errors import InvalidRequest
from service.domain.ids import OrgId
from service.domain.object_kinds import ObjectKind
from service.identity.keys import store
from service.identity.keys.contract import ApiKey, ApiKeyWithSecret
from service.identity.keys.model import (
    Caller,
    KeyRole,
    ParsedKey,
    accepts_secret,
    format_key,
    new_key_id,
    new_secret,
    secret_digest,
)
from service.identity.publishers import store as publishers_store
from service.mutations import store as mutations_store
from service.organizations.operations import ACTOR, find_organization

_KEY: Final = ObjectKind("key", "key")

ROTATION_OVERLAP: Final = timedelta(hours=24)
_PAGE: Final = 1_000


async def list_keys(pool: Pool, caller: Caller, query: PageQuery) -> ListPage[ApiKey]:
    """Return keys, including revoked ones, newest first. Raises InvalidRequest for a cursor of another list."""
    return await read_page_by_id(pool, caller, _KEY, query, store.list_page)


class NewKey(NamedTuple):
    """A new or rotated key. `key` is shown to its owner once and isn't stored."""

    key_id: str
    key: str


async def create_key(
    connection: Connection,
    org_id: OrgId,
    name: str,
    role: KeyRole,
    project_id: str | None = None,
    expires_at: datetime | None = None,
) -> NewKey:
    """Create a key, which can be bound to one project.

    Raises InvalidRequest if `expires_at` is in the past, or if a key of the role public has no project.
    """
    if role == "public" and project_id is None:
        raise InvalidRequest("project_id: is required, because a key of the role public has one project", "project_id")
    if expires_at is not None and expires_at <= datetime.now(UTC):
        raise InvalidRequest("expires_at: must be in the future", "expires_at")
    key_id, secret = new_key_id(), new_secret()
    await store.insert(connection, org_id, key_id, name, role, project_id, secret_digest(secret), expires_at)
    return NewKey(key_id, format_key(key_id, secret))


def choose_project(caller: Caller, requested: str | None) -> str | None:
    """Return the project of a new key: the project of the caller's key if it is bound to one. Raises Forbidden."""
    refusal = f"this key is bound to the project {caller.project_id!r} and can create only keys of it"
    return caller.choose_project(requested, refusal)


async def read_new_key(connection: Connection, org_id: OrgId, new: NewKey) -> ApiKeyWithSecret:
    """Return a new or rotated key with its secret."""
    return {**await store.find_one(connection, org_id, new.key_id), "key": new.key}


async def rotate_key(connection: Connection, org_id: OrgId, key_id: str, project_id: str | None = None) -> NewKey:
    """Replace the secret of a key; the previous one remains valid for 24 hours. Raises NotFound."""
    secret = new_secret()
    if not await store.rotate(connection, org_id, key_id, secret_digest(secret), ROTATION_OVERLAP, project_id):
        raise _KEY.not_found(key_id)
    return NewKey(key_id, format_key(key_id, secret))


async def revoke_key(connection: Connection, org_id: OrgId, key_id: str, project_id: str | None = None) -> None:
    """Revoke a key; every process rejects it within five seconds. Raises NotFound if there is no valid key.

    Requires a transaction. All keys of an ID token end together, also the key of an exchange in progress.
    """
    await publishers_store.lock_token_of_key(connection, org_id, key_id)
    if not await store.revoke(connection, org_id, key_id, project_id):
        raise _KEY.not_found(key_id)


def check_key_id(key_id: str) -> None:
    """Raise NotFound if the ID of a key is malformed."""
    _KEY.check_id(key_id)


async def find_key_callers(pool: Pool, presented: Collection[ParsedKey]) -> dict[ParsedKey, Caller]:
    """Return the callers of the valid keys. The others are unknown, wrong, expired, or revoked."""
    stored, now = await store.find(pool, {key.key_id for key in presented}), datetime.now(UTC)
    found = [(key, stored[key.key_id]) for key in presented if key.key_id in stored]
    return {
        key: Caller(row.org_id, key.key_id, row.role, row.project_id, row.job)
        for key, row in found
        if accepts_secret(row, key.secret, now)
    }


async def record_use(pool: Pool, caller: Caller) -> None:
    """Set the time of last use of the caller's key, at most once per minute."""
    async with as_organization(pool, caller.org_id) as connection:
        await store.touch(connection, caller.org_id, caller.credential_id)


async def create_as_operator(
    connection: Connection, slug: str, name: str, role: KeyRole, project_id: str | None, expires_at: datetime | None
) -> NewKey:
    """Create a key of an organization on the command line. Raises NotFound, and InvalidRequest as `create_key` does."""
    org_id = await find_organization(connection, slug)
    async with connection.transaction():
        created = await create_key(connection, org_id, name, role, project_id, expires_at)
        await mutations_store.insert_entry(connection, org_id, ACTOR, "keys create", created.key_id)
    return created


async def list_as_operator(connection: Connection, slug: str) -> list[ApiKey]:
    """Return all keys of an organization, newest first. Raises NotFound."""
    org_id = await find_organization(connection, slug)
    found: list[ApiKey] = []
    before = None
    while True:
        page = await store.list_page(connection, org_id, None, before, _PAGE)
        found += page.rows
        before = page.next
        if before is None:
            return found


async def revoke_as_operator(connection: Connection, slug: str, key_id: str) -> None:
    """Revoke a key of an organization. Raises NotFound if it doesn't exist or is already revoked."""
    org_id = await find_organization(connection, slug)
    async with connection.transaction():
        await revoke_key(connection, org_id, key_id)
        await mutations_store.insert_entry(connection, org_id, ACTOR, "keys revoke", key_id)
