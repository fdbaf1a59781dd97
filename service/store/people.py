"""Queries for the erasure of people, who are named by members, events, and stored responses."""

from collections.abc import Sequence
from typing import Final

import orjson

from service.domain.ids import OrgId
from service.store import authors
from service.store.authors import ErasureStep
from service.store.postgres.database import Connection
from service.store.postgres.statements import statements

_SQL: Final = statements("people")


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


async def erase_in_events(
    connection: Connection, org_id: OrgId, person_ids: Sequence[str], after: str, limit: int
) -> ErasureStep:
    """Erase the names of people in the objects of the next events. Their other members keep their order."""
    rows = await connection.fetch(_SQL["find_in_events"], org_id, person_ids, after, limit)
    found = {row["event_id"]: _without_name(row["data"]) for row in rows if row["data"] is not None}
    await authors.replace_events(connection, org_id, found)
    return ErasureStep(len(found), rows[-1]["event_id"] if len(rows) == limit else None)


async def delete_responses(connection: Connection, org_id: OrgId, texts: Sequence[str]) -> None:
    """Delete the responses stored for repeated requests that contain one of these IDs or emails."""
    await connection.execute(_SQL["delete_responses"], org_id, texts)


def _without_name(data: str) -> str:
    return orjson.dumps({**orjson.loads(data), "created_by_name": None}).decode()
