"""Queries for the erasure of an author, who is named by runs, uploads, events, and stored responses."""

from collections.abc import Mapping, Sequence
from typing import Final, NamedTuple

import orjson

from service.domain.ids import OrgId
from service.store.postgres.database import Connection
from service.store.postgres.statements import statements

_SQL: Final = statements("authors")


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


async def erase_in_events(connection: Connection, org_id: OrgId, author: str, after: str, limit: int) -> ErasureStep:
    """Erase the author in the objects of the next events. Their other members keep their order."""
    rows = await connection.fetch(_SQL["find_in_events"], org_id, author, after, limit)
    found = {row["event_id"]: _without_author(row["data"]) for row in rows if row["data"] is not None}
    await replace_events(connection, org_id, found)
    return ErasureStep(len(found), rows[-1]["event_id"] if len(rows) == limit else None)


async def replace_events(connection: Connection, org_id: OrgId, data: Mapping[str, str]) -> None:
    """Replace the objects of events, by the IDs of the events."""
    if data:
        await connection.execute(_SQL["replace_events"], org_id, list(data), list(data.values()))


async def delete_responses(connection: Connection, org_id: OrgId, author: str) -> None:
    """Delete the responses stored for repeated requests that state the author."""
    await connection.execute(_SQL["delete_responses"], org_id, author)


def _without_author(data: str) -> str:
    return orjson.dumps({**orjson.loads(data), "author": None}).decode()
