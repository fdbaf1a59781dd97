"""Trusted publishers: the list, creation, change, and deletion, for callers and for operators, and their exchanges.

A publisher that no longer accepts the same tokens for the same role loses its keys in the same transaction.
"""

from collections.abc import Mapping
from typing import Any, Final, NamedTuple

from service.contracts.queries import PageQuery
from service.database.database import Connection, Pool, Row, as_organization
from service.database.pages import ListPage, read_page_by_id
from service.domain.addresses import AllowedAddresses
from service.domain.errors import Conflict, InvalidRequest
from service.domain.ids import OrgId, new_id
from service.domain.object_kinds import ObjectKind
from service.identity.keys.model import Caller
from service.identity.publishers import store
from service.identity.publishers.contract import PublisherIn, TokenExchange, TrustedPublisher
from service.identity.publishers.model import MAX_PUBLISHERS, check_claims, check_issuer, default_name
from service.identity.publishers.store import PublisherFields, PublisherOrigin, PublisherRef
from service.mutations import store as mutations_store
from service.organizations.operations import ACTOR, find_organization

_PUBLISHER: Final = ObjectKind("publisher", "pub")


async def list_publishers(pool: Pool, caller: Caller, query: PageQuery) -> ListPage[TrustedPublisher]:
    """Return publishers, newest first. Raises InvalidRequest for a cursor of another list."""
    return await read_page_by_id(pool, caller, _PUBLISHER, query, store.list_page)


async def find_publisher(pool: Pool, caller: Caller, publisher_id: str) -> TrustedPublisher:
    """Return one publisher. Raises NotFound."""
    ref = publisher_ref(caller, publisher_id)
    async with as_organization(pool, caller.org_id) as connection:
        return await read_publisher(connection, ref)


async def read_publisher(connection: Connection, ref: PublisherRef) -> TrustedPublisher:
    """Return one publisher. Raises NotFound."""
    return _PUBLISHER.require(await store.find_one(connection, ref), ref.publisher_id)


def publisher_ref(caller: Caller, publisher_id: str) -> PublisherRef:
    """Return the reference to a publisher that the caller can manage. Raises NotFound if the ID is malformed."""
    return PublisherRef(caller.org_id, _PUBLISHER.check_id(publisher_id), caller.project_id)


class NewPublisher(NamedTuple):
    """A publisher to create."""

    origin: PublisherOrigin
    fields: PublisherFields


def read_request(caller: Caller, body: PublisherIn, allowed: AllowedAddresses) -> NewPublisher:
    """Return the publisher that a caller requests, whose project is the project of the caller if it is bound to one.

    Raises InvalidRequest, and Forbidden for another project.
    """
    refusal = f"you can manage only publishers of the project {caller.project_id!r}"
    return new_publisher(body, caller.choose_project(body.project_id, refusal), allowed)


def new_publisher(body: PublisherIn, project_id: str | None, allowed: AllowedAddresses) -> NewPublisher:
    """Return the publisher to create. Raises InvalidRequest."""
    if project_id is None:
        raise InvalidRequest("project_id: is required, because a job gets a key of one project", "project_id")
    issuer = check_issuer(body.provider, body.issuer, allowed)
    claims = check_claims(body.provider, body.claims)
    name = body.name or default_name(body.provider, issuer, claims)
    return NewPublisher(
        PublisherOrigin(body.provider, issuer, project_id), PublisherFields(name, claims, body.role, body.enabled)
    )


async def create_publisher(connection: Connection, caller: Caller, new: NewPublisher) -> TrustedPublisher:
    """Create a publisher for a caller, and return it. Raises Conflict as `add_publisher` does."""
    publisher_id = await add_publisher(connection, caller.org_id, new, caller.actor_id)
    return await read_publisher(connection, PublisherRef(caller.org_id, publisher_id, None))


async def add_publisher(connection: Connection, org_id: OrgId, new: NewPublisher, created_by: str) -> str:
    """Create a publisher, and return its ID. Raises Conflict if the organization has `MAX_PUBLISHERS`."""
    if await store.count_for_insert(connection, org_id) >= MAX_PUBLISHERS:
        raise Conflict(f"the organization has {MAX_PUBLISHERS} publishers, which is the maximum; delete one first")
    publisher_id = new_id("pub")
    await store.insert_publisher(connection, org_id, publisher_id, new.origin, new.fields, created_by)
    return publisher_id


async def change_publisher(connection: Connection, ref: PublisherRef, changes: Mapping[str, Any]) -> TrustedPublisher:
    """Change some fields. Unless only the name changes, the keys are revoked. Raises NotFound and InvalidRequest."""
    provider, stored = _PUBLISHER.require(await store.lock(connection, ref), ref.publisher_id)
    fields = stored._replace(**changes)
    if "claims" in changes:
        fields = fields._replace(claims=check_claims(provider, changes["claims"]))
    await store.update(connection, ref, fields)
    if fields._replace(name=stored.name) != stored:
        await store.revoke_keys(connection, ref.org_id, ref.publisher_id)
    return await read_publisher(connection, ref)


async def delete_publisher(connection: Connection, ref: PublisherRef) -> None:
    """Delete a publisher, and revoke its keys. Raises NotFound."""
    _PUBLISHER.require(await store.lock(connection, ref), ref.publisher_id)
    await store.delete(connection, ref.org_id, ref.publisher_id)


async def list_exchanges(pool: Pool, caller: Caller, publisher_id: str | None) -> list[TokenExchange]:
    """Return the newest exchanges of the caller's organization or project, newest first, optionally of a publisher."""
    async with as_organization(pool, caller.org_id) as connection:
        return await store.list_newest(connection, caller.org_id, caller.project_id, publisher_id)


async def list_as_operator(connection: Connection, slug: str) -> list[Row]:
    """Return all publishers of an organization, newest first. Raises NotFound."""
    return await store.list_all(connection, await find_organization(connection, slug))


async def add_as_operator(connection: Connection, slug: str, new: NewPublisher) -> str:
    """Create a publisher of an organization on the command line, and return its ID. Raises NotFound and Conflict."""
    org_id = await find_organization(connection, slug)
    async with connection.transaction():
        publisher_id = await add_publisher(connection, org_id, new, ACTOR)
        await mutations_store.insert_entry(connection, org_id, ACTOR, "publishers add", publisher_id)
    return publisher_id


async def enable_as_operator(connection: Connection, slug: str, publisher_id: str, *, enabled: bool) -> None:
    """Enable a publisher, or disable it and revoke its keys. Raises NotFound."""
    ref = PublisherRef(await find_organization(connection, slug), publisher_id, None)
    async with connection.transaction():
        await change_publisher(connection, ref, {"enabled": enabled})
        action = f"publishers {'enable' if enabled else 'disable'}"
        await mutations_store.insert_entry(connection, ref.org_id, ACTOR, action, publisher_id)


async def remove_as_operator(connection: Connection, slug: str, publisher_id: str) -> None:
    """Delete a publisher, and revoke its keys. Raises NotFound."""
    ref = PublisherRef(await find_organization(connection, slug), publisher_id, None)
    async with connection.transaction():
        await delete_publisher(connection, ref)
        await mutations_store.insert_entry(connection, ref.org_id, ACTOR, "publishers remove", publisher_id)


async def list_exchanges_as_operator(
    connection: Connection, slug: str, publisher_id: str | None
) -> list[TokenExchange]:
    """Return the newest exchanges of an organization, newest first, optionally of a publisher. Raises NotFound."""
    org_id = await find_organization(connection, slug)
    return await store.list_newest(connection, org_id, None, publisher_id)
