"""Rows of trusted publishers. Deleted ones stay, because the audit trail names them."""

from collections.abc import Mapping, Sequence
from datetime import timedelta
from typing import Any, Final, NamedTuple, cast

from service.database.database import Connection, Pool, Row
from service.database.errors import OutagesAsUnavailable
from service.database.pages import RowPage, find_object, page_by_id
from service.database.statements import statements
from service.domain.ids import OrgId
from service.identity.keys.model import KeyRole
from service.identity.publishers.contract import TokenExchange, TrustedPublisher
from service.identity.publishers.model import JobClaims, ProviderName, Publisher, PublisherRole

_SQL: Final = statements("identity/publishers")

RETAINED: Final = 100  # per organization


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


async def insert_publisher(
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
    values = {"org_id": org_id, "project_id": project_id}
    return await page_by_id(connection, "listed_publishers", "pub", before, limit, values)


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


class NewExchange(NamedTuple):
    """An exchange of an authentic token of a repository that a publisher names, in the order of the columns.

    A refused one has no key, and the project of the publisher that the token would have needed.
    """

    publisher_id: str | None
    issuer: str
    token_sha256: bytes
    job: str
    project_id: str | None
    key_id: str | None
    refusal: str | None
    claims: Mapping[str, Any]


async def insert_exchange(connection: Connection, org_id: OrgId, exchange: NewExchange) -> None:
    """Insert an exchange."""
    await connection.execute(_SQL["insert_exchange"], org_id, *exchange)


async def list_newest(
    connection: Connection, org_id: OrgId, project_id: str | None, publisher_id: str | None
) -> list[TokenExchange]:
    """Return those of the newest exchanges of the organization with this project and publisher, newest first."""
    rows = await connection.fetch(_SQL["list_newest"], org_id, project_id, publisher_id, RETAINED)
    return [cast("TokenExchange", dict(row)) for row in rows]


async def delete_outdated(connection: Connection, limit: int) -> int:
    """Delete at most `limit` exchanges that aren't among the newest ones of an organization. Return the number."""
    return int(await connection.fetchval(_SQL["delete_outdated"], RETAINED, limit))


class TokenUse(NamedTuple):
    """The number of keys that a token was exchanged for, and whether they were revoked, which ends the token."""

    keys: int
    revoked: bool


async def lock_token(connection: Connection, org_id: OrgId, token_sha256: bytes) -> TokenUse:
    """Lock the token until the transaction ends, and return its use."""
    await connection.execute(_SQL["lock_token"], org_id, token_sha256)
    [row] = await connection.fetch(_SQL["count_of_token"], org_id, token_sha256)
    return TokenUse(*row)


async def lock_token_of_key(connection: Connection, org_id: OrgId, key_id: str) -> None:
    """Lock the token of a key until the transaction ends, if it's the key of a job."""
    await connection.execute(_SQL["lock_token_of_key"], org_id, key_id)


async def insert_job_key(
    connection: Connection,
    org_id: OrgId,
    key_id: str,
    name: str,
    role: KeyRole,
    project_id: str,
    secret_sha256: bytes,
    lifetime: timedelta,
    token_sha256: bytes,
    job: JobClaims,
) -> None:
    """Insert the key of a job."""
    values = org_id, key_id, name, role, project_id, secret_sha256, lifetime, job.publisher_id, token_sha256
    await connection.execute(_SQL["insert_job_key"], *values, job._asdict())


async def delete_expired(connection: Connection, after: timedelta, limit: int) -> int:
    """Delete at most `limit` keys that expired longer ago than `after`, of all organizations. Return the number."""
    return int(await connection.fetchval(_SQL["delete_expired"], after, limit))
