"""Rows of a complete organization, of a person, and of an author: delete, export, or erase them."""

from collections.abc import AsyncIterator, Callable, Collection, Coroutine, Iterator, Mapping, Sequence
from contextlib import asynccontextmanager, contextmanager
from typing import Any, Final, NamedTuple

import asyncpg
import orjson

from service.database.database import JSON_LINES, Connection
from service.database.engines import engine_of
from service.database.errors import RowDeleted
from service.database.statements import statements
from service.domain.bounded_cache import BoundedCache
from service.domain.ids import OrgId

_SQL: Final = statements("retention")
_REFERENCE: Final = "_org_id_fkey"  # the end of the name of each foreign key to organizations

CLOSED_SUFFIX: Final = ":deleted"  # no slug of an event contains a colon

_TIMEOUT_S: Final = 24 * 3600.0  # of one table

# Secrets and their hashes, and stored responses, which can have any content.
SECRET_COLUMNS: Final = (
    "api_keys.secret_sha256",
    "api_keys.previous_sha256",
    "api_keys.token_sha256",
    "sessions.session_sha256",
    "sessions.secret_sha256",
    "token_exchanges.token_sha256",
    "webhooks.secret",
    "webhooks.previous_secret",
    "idempotency_keys.body",
)


async def close(connection: Connection, org_id: OrgId) -> None:
    """Rename the organization, so that events no longer find it, and delete its keys, publishers, and members.

    Can be repeated.
    """
    async with connection.transaction():
        await connection.execute(_SQL["close"], org_id, CLOSED_SUFFIX)
        await connection.execute(_SQL["delete_keys"], org_id)
        await connection.execute(_SQL["delete_members"], org_id)
        await connection.execute(_SQL["delete_publishers"], org_id)


async def find_statements(connection: Connection, limit: int, *, of_partitions: bool) -> list[str]:
    """Return one statement for each table, for `delete_some`, in an order that respects the foreign keys."""
    return [row["statement"] for row in await connection.fetch(_SQL["find_statements"], limit, of_partitions)]


async def delete_some(connection: Connection, statement: str, org_id: OrgId) -> int:
    """Delete rows of one table, and return their number."""
    return int(await connection.fetchval(statement, org_id))


async def lock(connection: Connection, org_id: OrgId) -> None:
    """Lock the organization, so that no transaction can insert rows that refer to it."""
    await connection.execute(_SQL["lock_organization"], org_id)


async def delete_organization(connection: Connection, org_id: OrgId) -> None:
    """Delete the organization itself."""
    await connection.execute(_SQL["delete"], org_id)


class OrganizationDeleted(RowDeleted):
    """An organization was deleted before a row that refers to it was stored."""


async def prevent_deletion(connection: Connection, org_ids: Collection[OrgId]) -> None:
    """Delay a deletion of the organizations until the rows that the transaction inserts are committed.

    Raises OrganizationDeleted. On PostgreSQL, the foreign keys do both. On Citus, distributed tables have none.
    """
    if engine_of(connection).is_distributed:
        locked = await connection.fetch(_SQL["prevent_deletion"], list(org_ids))
        if len(locked) < len(org_ids):
            raise OrganizationDeleted(f"one of the organizations {sorted(org_ids)} was deleted")


@contextmanager
def evicting_deleted(known: BoundedCache[str, OrgId]) -> Iterator[None]:
    """Evict the known organizations if a transaction in the block refers to a deleted one.

    Raises OrganizationDeleted, so that the transaction is repeated with the organizations that exist.
    """
    try:
        yield
    except OrganizationDeleted:
        known.clear()
        raise
    except asyncpg.ForeignKeyViolationError as error:
        if not str(error.constraint_name).endswith(_REFERENCE):
            raise
        known.clear()
        raise OrganizationDeleted(f"an organization was deleted: {error}") from error


class TableQuery(NamedTuple):
    """A table, and the query for the rows of one organization."""

    table: str
    query: str


@asynccontextmanager
async def one_snapshot(connection: Connection, org_id: OrgId) -> AsyncIterator[None]:
    """Read one snapshot in all queries of the block.

    The first query creates the snapshot. On Citus, it reads from the server that has the rows of the organization.
    """
    async with connection.transaction(isolation="repeatable_read", readonly=True):
        await connection.execute("SET LOCAL timezone = 'UTC'; SET LOCAL idle_in_transaction_session_timeout = 0")
        await connection.execute(_SQL["take_snapshot"], org_id)
        yield


async def find_queries(connection: Connection, org_id: OrgId) -> Sequence[TableQuery]:
    """Return one query for each table, without the columns that contain secrets."""
    rows = await connection.fetch(_SQL["find_queries"], org_id, SECRET_COLUMNS)
    return [TableQuery(row["table"], row["query"]) for row in rows]


async def copy_rows(connection: Connection, query: str, write: Callable[[bytes], Coroutine[Any, Any, None]]) -> int:
    """Pass the rows to `write` as JSON lines, and return their number."""
    done = await connection.copy_from_query(query, output=write, timeout=_TIMEOUT_S, **JSON_LINES)
    return int(done.split()[-1])


class ErasureStep(NamedTuple):
    """The number of rows whose author was erased, and the ID after which the next step continues, or None."""

    erased: int
    next: str | None


async def erase_in_receipts(connection: Connection, org_id: OrgId, author: str, after: str, limit: int) -> ErasureStep:
    """Erase the author of the next uploads."""
    rows = await connection.fetch(_SQL["find_in_receipts"], org_id, author, after, limit)
    found = [row["receipt_id"] for row in rows if row["is_found"]]
    if found:
        await connection.execute(_SQL["erase_in_receipts"], org_id, found)
    return ErasureStep(len(found), rows[-1]["receipt_id"] if len(rows) == limit else None)


async def erase_in_runs(connection: Connection, org_id: OrgId, author: str, limit: int) -> Sequence[tuple[str, str]]:
    """Erase the author of at most `limit` runs. Return the project and the ID of each."""
    return [(row[0], row[1]) for row in await connection.fetch(_SQL["erase_in_runs"], org_id, author, limit)]


async def erase_author_in_events(
    connection: Connection, org_id: OrgId, author: str, after: str, limit: int
) -> ErasureStep:
    """Erase the author in the objects of the next events. Their other members keep their order."""
    rows = await connection.fetch(_SQL["find_in_events_of_author"], org_id, author, after, limit)
    found = {row["event_id"]: _without("author", row["data"]) for row in rows if row["data"] is not None}
    await replace_events(connection, org_id, found)
    return ErasureStep(len(found), rows[-1]["event_id"] if len(rows) == limit else None)


async def replace_events(connection: Connection, org_id: OrgId, data: Mapping[str, str]) -> None:
    """Replace the objects of events, by the IDs of the events."""
    if data:
        await connection.execute(_SQL["replace_events"], org_id, list(data), list(data.values()))


async def delete_responses_of_author(connection: Connection, org_id: OrgId, author: str) -> None:
    """Delete the responses stored for repeated requests that state the author."""
    await connection.execute(_SQL["delete_responses_of_author"], org_id, author)


def _without(field: str, data: str) -> str:
    return orjson.dumps({**orjson.loads(data), field: None}).decode()


async def find_ids(connection: Connection, org_id: OrgId, email: str) -> list[str]:
    """Return the IDs of the people with this email, now or when they signed in first."""
    return [row["person_id"] for row in await connection.fetch(_SQL["find_ids"], org_id, email)]


async def find_emails(connection: Connection, org_id: OrgId, person_ids: Sequence[str]) -> list[str]:
    """Return the emails of people."""
    return [row["email"] for row in await connection.fetch(_SQL["find_emails"], org_id, person_ids)]


async def erase_members(connection: Connection, org_id: OrgId, person_ids: Sequence[str], emails: Sequence[str]) -> int:
    """Remove the members who are these people or have these emails, erase their emails, and return their number."""
    return len(await connection.fetch(_SQL["erase_members"], org_id, person_ids, emails))


async def delete(connection: Connection, org_id: OrgId, person_ids: Sequence[str]) -> int:
    """Delete people, whose IDs then have no name, and return their number."""
    return len(await connection.fetch(_SQL["delete_people"], org_id, person_ids))


async def erase_person_in_events(
    connection: Connection, org_id: OrgId, person_ids: Sequence[str], after: str, limit: int
) -> ErasureStep:
    """Erase the names of people in the objects of the next events. Their other members keep their order."""
    rows = await connection.fetch(_SQL["find_in_events"], org_id, person_ids, after, limit)
    found = {row["event_id"]: _without("created_by_name", row["data"]) for row in rows if row["data"] is not None}
    await replace_events(connection, org_id, found)
    return ErasureStep(len(found), rows[-1]["event_id"] if len(rows) == limit else None)


async def delete_responses_of_person(connection: Connection, org_id: OrgId, texts: Sequence[str]) -> None:
    """Delete the responses stored for repeated requests that contain one of these IDs or emails."""
    await connection.execute(_SQL["delete_responses"], org_id, texts)
