"""Rows of trusted publishers. Deleted ones stay, because the audit trail names them."""

from collections.abc import Mapping, Sequence
from typing import Final, NamedTuple

from service.contracts.publishers import TrustedPublisher
from service.domain.ids import OrgId
from service.domain.publishers import ProviderName, Publisher, PublisherRole
from service.store.postgres.database import Connection, OutagesAsUnavailable, Pool, Row
from service.store.postgres.statements import statements
from service.store.queries.pages import RowPage, find_object, page_by_id

_SQL: Final = statements("publishers")
_AFTER_ALL_IDS: Final = "pub_g"  # IDs continue with hex digits, so this sorts after all of them


class PublisherRef(NamedTuple):
    """A publisher, and the project that it must belong to if the caller is bound to a project."""

    org_id: OrgId
    publisher_id: str
    project_id: str | None


class PublisherOrigin(NamedTuple):
    """What a publisher never changes, in the order of the columns."""

    provider: ProviderName
    issuer: str
    project_id: str


class PublisherFields(NamedTuple):
    """The fields that can change, in the order of the columns."""

    name: str
    claims: Mapping[str, str]
    role: PublisherRole
    enabled: bool


async def knows_issuer(pool: Pool, issuer: str) -> bool:
    """Return whether a publisher of any organization has this issuer."""
    async with OutagesAsUnavailable():
        return bool(await pool.fetchval(_SQL["knows_issuer"], issuer))


async def list_issuers(pool: Pool) -> set[str]:
    """Return the issuers of the enabled publishers of all organizations."""
    async with OutagesAsUnavailable():
        return {row["issuer"] for row in await pool.fetch(_SQL["list_issuers"])}


async def find_by_ids(pool: Pool, issuer: str, identities: Sequence[Mapping[str, str]]) -> list[Publisher]:
    """Return the publishers of an issuer with the IDs in one of these objects, of all organizations.

    Disabled ones are returned too, and all of the provider `oidc`, because they have no IDs.
    """
    async with OutagesAsUnavailable():
        return [Publisher(*row) for row in await pool.fetch(_SQL["find_by_ids"], issuer, identities)]


async def use(connection: Connection, publisher: Publisher, default_name: str, name: str) -> bool:
    """Record the use of a publisher, before the insertion of a key in the same transaction.

    `name` replaces the default name. Return False if the publisher was changed, disabled, or deleted meanwhile. A later
    change waits for the transaction, and then revokes the key.
    """
    values = publisher.claims, publisher.project_id, publisher.role
    is_outdated = await connection.fetchval(
        _SQL["lock_unchanged"], publisher.org_id, publisher.publisher_id, *values
    )  # fmt: skip
    if is_outdated:
        await connection.execute(_SQL["touch"], publisher.org_id, publisher.publisher_id, default_name, name)
    return is_outdated is not None


async def count_for_insert(connection: Connection, org_id: OrgId) -> int:
    """Return the number of publishers. No other transaction inserts one before this one ends."""
    await connection.execute(_SQL["lock_list"], org_id)
    return int(await connection.fetchval(_SQL["count"], org_id))


async def insert(
    connection: Connection,
    org_id: OrgId,
    publisher_id: str,
    origin: PublisherOrigin,
    fields: PublisherFields,
    created_by: str,
) -> None:
    """Insert a publisher."""
    await connection.execute(_SQL["insert"], org_id, publisher_id, *origin, *fields, created_by)


async def find_one(connection: Connection, ref: PublisherRef) -> TrustedPublisher | None:
    """Return one publisher, or None if it doesn't exist or was deleted."""
    found: TrustedPublisher | None = await find_object(connection, "one_publisher", ref._asdict())
    return found


async def list_page(
    connection: Connection, org_id: OrgId, project_id: str | None, before: str | None, limit: int
) -> RowPage[TrustedPublisher, str]:
    """Return a page of publishers, newest first, after the publisher with the ID `before`, optionally of a project."""
    values: Mapping[str, object] = {
        "org_id": org_id, "project_id": project_id, "before": before or _AFTER_ALL_IDS, "page": limit
    }  # fmt: skip
    return await page_by_id(connection, "listed_publishers", values)


async def list_all(connection: Connection, org_id: OrgId) -> list[Row]:
    """Return all publishers of an organization, newest first, with the fields that operators see."""
    return await connection.fetch(_SQL["list_all"], org_id)


async def lock(connection: Connection, ref: PublisherRef) -> tuple[ProviderName, PublisherFields] | None:
    """Return the provider and the fields of a publisher, and lock its row until the transaction ends."""
    row = await connection.fetchrow(_SQL["lock"], *ref)
    if row is None:
        return None
    provider, *fields = row
    return provider, PublisherFields(*fields)


async def update(connection: Connection, ref: PublisherRef, fields: PublisherFields) -> None:
    """Replace the fields of a locked publisher."""
    await connection.execute(_SQL["update"], ref.org_id, ref.publisher_id, *fields)


async def delete(connection: Connection, org_id: OrgId, publisher_id: str) -> None:
    """Mark a locked publisher as deleted, and revoke its keys."""
    await connection.execute(_SQL["set_deleted"], org_id, publisher_id)
    await revoke_keys(connection, org_id, publisher_id)


async def delete_of_project(connection: Connection, org_id: OrgId, project_id: str) -> None:
    """Mark the publishers of a project as deleted, and revoke their keys."""
    for row in await connection.fetch(_SQL["lock_project"], org_id, project_id):
        await delete(connection, org_id, row["publisher_id"])


async def revoke_keys(connection: Connection, org_id: OrgId, publisher_id: str) -> None:
    """Revoke the keys of a locked publisher. Every process rejects them within five seconds."""
    await connection.execute(_SQL["revoke_keys"], org_id, publisher_id)
