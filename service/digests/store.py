"""Rows of digests, and the numbers that they contain. Requires the role results_worker."""

from collections.abc import Sequence
from datetime import date, timedelta
from typing import Any, Final, NamedTuple

import orjson

from service.database.database import Connection
from service.database.statements import statements
from service.domain.ids import OrgId, first_id
from service.domain.timestamps import day_to_ms

_SQL: Final = statements("digests")


class DigestPlace(NamedTuple):
    """A project, and the Monday of a week."""

    org_id: OrgId
    project_id: str
    week: date


async def find_due(
    connection: Connection, org_id: OrgId, week: date, *, may_lack_costs: bool
) -> list[tuple[str, list[str]]]:
    """Return the projects with the owners whose digest isn't created; "" is all cases.

    Unless `may_lack_costs`, a project whose costs aren't rolled up isn't returned.
    """
    rows = await connection.fetch(_SQL["find_due"], org_id, week, may_lack_costs)
    return [(row["project_id"], row["owners"]) for row in rows]


async def insert(connection: Connection, place: DigestPlace, owners: Sequence[str]) -> list[str]:
    """Insert digests, and return the owners of those that no other process has inserted."""
    return [row["owner"] for row in await connection.fetch(_SQL["insert"], *place, owners)]


async def prune(connection: Connection, before: date) -> None:
    """Delete the digests of weeks before this Monday."""
    await connection.execute(_SQL["prune"], before)


async def read_digest(connection: Connection, place: DigestPlace, owner: str, link_base: str) -> dict[str, Any]:
    """Return the members of DigestObject with sums of the weeks, current numbers, and the longest cases."""
    days = [place.week + timedelta(days=number) for number in (-7, 0, 7)]
    ids = [first_id("evt", day_to_ms(day)) for day in days]
    found: dict[str, Any] = orjson.loads(await connection.fetchval(_SQL["read_digest"], *place, owner, ids, link_base))
    return found
