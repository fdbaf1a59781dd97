"""Deletion of untrusted runs that nobody has promoted, and then of the hidden cases that only they contained."""

from datetime import datetime
from typing import Final

from service.domain.ids import OrgId
from service.domain.untrusted import LIFETIME
from service.store import deletions, organizations, untrusted_runs
from service.store.postgres.database import Pool
from service.store.runs import RunRef
from service.usecases.retention.clock import verified_now

_MAX_RUNS: Final = 100  # per query, each deleted in its own transaction
_MAX_CASES: Final = 5_000  # per transaction


async def delete_expired_untrusted(pool: Pool) -> int:
    """Delete the expired untrusted runs with their results and artifacts, and expired hidden cases.

    Returns the number of runs. Runs that another transaction locks stay until the next call, and an interruption keeps
    the previous deletions. No event is published, because no event has announced the runs.
    """
    now = await verified_now(pool)
    before = now - LIFETIME
    total = 0
    while deleted := await _delete_runs(pool, before):
        total += deleted
    async with pool.acquire() as connection:
        org_ids = [OrgId(row["org_id"]) for row in await organizations.list_all(connection)]
    for org_id in org_ids:
        while await _delete_cases(pool, org_id, now, before):
            pass
    return total


async def _delete_runs(pool: Pool, before: datetime) -> int:
    async with pool.acquire() as connection:
        refs = await untrusted_runs.find_expired(connection, before, _MAX_RUNS)
    return sum([await _delete_run(pool, ref) for ref in refs])


async def _delete_run(pool: Pool, ref: RunRef) -> bool:
    async with pool.acquire() as connection, connection.transaction():
        if not await untrusted_runs.lock(connection, ref):
            return False
        await deletions.delete_run(connection, *ref, None)
        return True


async def _delete_cases(pool: Pool, org_id: OrgId, now: datetime, runs_before: datetime) -> int:
    async with pool.acquire() as connection:
        return await untrusted_runs.delete_cases(connection, org_id, now, _MAX_CASES, runs_before)
