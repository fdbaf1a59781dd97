"""Deletion of a run, of requested projects, and of expired untrusted runs, and the pin that keeps a run.

Decisions and the audit trail stay. Several processes can delete projects and untrusted runs concurrently.
"""

from datetime import UTC, datetime
from typing import Final

from service.costs import store as costs_store
from service.database.database import Connection, Pool
from service.database.errors import is_conflict
from service.database.transactions import limit_lock_wait, notifying_transaction
from service.domain.errors import Conflict, NotFound
from service.domain.ids import OrgId, completed_ms, new_id
from service.events import store as events_store
from service.events.model import DELETED, InternalEvent
from service.failures import store as failures_store
from service.identity.publishers import store as publishers_store
from service.log import log
from service.organizations import store as organizations_store
from service.projects.store import ProjectRef
from service.retention import store
from service.retention.expiry import verified_now
from service.runs import store as runs_store
from service.runs.model import UNTRUSTED_LIFETIME
from service.runs.store import RunRef
from service.splits import store as splits_store
from service.states import store as states_store

_MAX_RUNS: Final = 100  # per query, each deleted in its own transaction
_MAX_ROWS: Final = 5_000  # per transaction
_MAX_PROJECTS: Final = 100  # that are deleted in turns
_LOCK_WAIT_S: Final = 1.0  # for the lock of a run


async def delete_run(connection: Connection, org_id: OrgId, run_id: str, project_id: str | None) -> None:
    """Delete a run. Requires a notifying transaction. Upkeep deletes the files after the commit.

    A redelivered event doesn't create the run again, because its receipt stays. Raises NotFound if the run doesn't
    exist.
    """
    if not await _delete_and_publish(connection, org_id, run_id, project_id):
        raise NotFound(f"run {run_id[:100]!r} not found")


async def _delete_and_publish(connection: Connection, org_id: OrgId, run_id: str, project_id: str | None) -> bool:
    """Delete a run, and insert the event of its deletion. Return False if the run doesn't exist."""
    deleted = await store.delete_run(connection, org_id, run_id, project_id)
    if deleted is not None and deleted.trusted:  # exports of changes contain no other run
        event = InternalEvent(org_id, new_id("evt"), DELETED, deleted.project_id, run_id)
        await events_store.insert_internal(connection, [event])
        if not deleted.results_expired:
            await costs_store.mark_changed(connection, [(org_id, deleted.project_id, completed_ms(deleted.key))])
    return deleted is not None


async def set_pinned(
    connection: Connection, org_id: OrgId, run_id: str, project_id: str | None, *, pinned: bool
) -> None:
    """Pin or unpin a run. Raises NotFound if the run doesn't exist, and Conflict for an untrusted run."""
    is_set = await runs_store.set_pinned(connection, org_id, run_id, project_id, pinned=pinned)
    if is_set is False:
        raise Conflict(f"run {run_id!r} isn't trusted, so it can't be pinned. Promote it first")
    if is_set is None:
        raise NotFound(f"run {run_id[:100]!r} not found")


async def delete_requested_projects(pool: Pool) -> None:
    """Delete the projects whose deletion was requested, in turns, so that a large one doesn't delay the others.

    The rows of a project are deleted in steps, each in its own transaction, and the project last, so that the next step
    continues after an interruption at any point. A project whose rows are locked is skipped until the next call.
    """
    while True:
        async with pool.acquire() as connection:
            refs = await store.find_requested(connection, _MAX_PROJECTS)
        if not any([await _try_project_step(pool, ref) for ref in refs]):
            return


async def _try_project_step(pool: Pool, ref: ProjectRef) -> bool:
    try:
        return await _delete_project_step(pool, ref)
    except Exception as error:
        if not is_conflict(error):
            raise
        log.info("project_deletion_postponed", org_id=ref[0], project_id=ref[1], error=repr(error))
        return False


async def _delete_project_step(pool: Pool, ref: ProjectRef) -> bool:
    """Delete some rows of a project, or the project after its last row. Return whether anything was deleted."""
    org_id, project_id = ref
    async with pool.acquire() as connection:
        run_ids = await store.find_runs(connection, ref, _MAX_RUNS)
    for run_id in run_ids:
        async with pool.acquire() as connection, notifying_transaction(connection):
            await limit_lock_wait(connection, _LOCK_WAIT_S)
            await _delete_and_publish(connection, org_id, run_id, project_id)
    if run_ids:
        return True
    async with pool.acquire() as connection:
        if await store.delete_cases(connection, ref, _MAX_ROWS):
            return True
        if await store.delete_quarantines(connection, ref, _MAX_ROWS):
            return True
        if await costs_store.delete_of_project(connection, *ref, _MAX_ROWS):
            return True
        if await splits_store.delete(connection, datetime.max.replace(tzinfo=UTC), _MAX_ROWS, (org_id, project_id)):
            return True
        async with connection.transaction():
            deleted = await store.delete_project(connection, ref)
            if deleted:
                await states_store.delete_of_project(connection, *ref)
                await failures_store.delete_states(connection, *ref)
                await publishers_store.delete_of_project(connection, *ref)
    if deleted:
        log.info("project_deleted", org_id=org_id, project_id=project_id)
    return deleted


async def delete_expired_untrusted(pool: Pool) -> int:
    """Delete the expired untrusted runs with their results and artifacts, and expired hidden cases.

    Returns the number of runs. Runs that another transaction locks stay until the next call, and an interruption keeps
    the previous deletions. No event is published, because no event has announced the runs.
    """
    now = await verified_now(pool)
    before = now - UNTRUSTED_LIFETIME
    total = 0
    while deleted := await _delete_expired_runs(pool, before):
        total += deleted
    async with pool.acquire() as connection:
        org_ids = [OrgId(row["org_id"]) for row in await organizations_store.list_all(connection)]
    for org_id in org_ids:
        while await _delete_hidden_cases(pool, org_id, now, before):
            pass
    return total


async def _delete_expired_runs(pool: Pool, before: datetime) -> int:
    async with pool.acquire() as connection:
        refs = await store.find_expired(connection, before, _MAX_RUNS)
    return sum([await _delete_unless_locked(pool, ref) for ref in refs])


async def _delete_unless_locked(pool: Pool, ref: RunRef) -> bool:
    async with pool.acquire() as connection, connection.transaction():
        if not await store.lock(connection, ref):
            return False
        await store.delete_run(connection, *ref, None)
        return True


async def _delete_hidden_cases(pool: Pool, org_id: OrgId, now: datetime, runs_before: datetime) -> int:
    async with pool.acquire() as connection:
        return await store.delete_hidden_cases(connection, org_id, now, _MAX_ROWS, runs_before)
