"""Expiry of untrusted runs, and of the hidden cases that only they contain."""

from datetime import datetime
from typing import Final

from service.domain.ids import OrgId
from service.store.postgres.database import Connection
from service.store.postgres.statements import statements
from service.store.runs import RunRef

_SQL: Final = statements("untrusted_runs")


async def find_expired(connection: Connection, before: datetime, limit: int) -> list[RunRef]:
    """Return untrusted runs of all organizations that were stored before this time, the oldest first."""
    rows = await connection.fetch(_SQL["find_expired"], before, limit)
    return [(OrgId(row["org_id"]), row["run_id"]) for row in rows]


async def lock(connection: Connection, ref: RunRef) -> bool:
    """Lock an untrusted run. Return False if it was promoted or deleted, or if another transaction changes it."""
    return await connection.fetchval(_SQL["lock"], *ref) is not None


async def delete_cases(connection: Connection, org_id: OrgId, now: datetime, limit: int, runs_before: datetime) -> int:
    """Delete at most `limit` hidden cases that have expired, and return their number.

    All of them stay as long as the organization has untrusted runs that were stored before `runs_before`.
    """
    return int(await connection.fetchval(_SQL["delete_cases"], org_id, now, limit, runs_before))
