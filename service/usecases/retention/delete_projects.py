"""Deletion of projects with their runs, cases, quarantines, and publishers. Decisions and the audit trail stay.

A request marks the project. Upkeep deletes the rows in steps, each in its own transaction, and the project last, so
that the next step continues after an interruption at any point. Several processes can do this concurrently.
"""

from typing import Final

from service.domain.events import DELETED, InternalEvent
from service.domain.ids import new_id
from service.log import log
from service.store import deletions, events, project_deletions, publishers
from service.store.postgres.database import Pool, is_conflict
from service.store.postgres.transactions import limit_lock_wait, notifying_transaction
from service.store.projects import ProjectRef

_MAX_PROJECTS: Final = 100  # that are deleted in turns
_MAX_RUNS: Final = 100  # per step, each in its own transaction
_MAX_ROWS: Final = 5_000  # per transaction
_LOCK_WAIT_S: Final = 1.0  # for the lock of a run


async def delete_requested_projects(pool: Pool) -> None:
    """Delete the projects whose deletion was requested, in turns, so that a large one doesn't delay the others.

    A project whose rows are locked is skipped until the next call.
    """
    while True:
        async with pool.acquire() as connection:
            refs = await project_deletions.find_requested(connection, _MAX_PROJECTS)
        if not any([await _try_step(pool, ref) for ref in refs]):
            return


async def _try_step(pool: Pool, ref: ProjectRef) -> bool:
    try:
        return await _delete_step(pool, ref)
    except Exception as error:
        if not is_conflict(error):
            raise
        log.info("project_deletion_postponed", org_id=ref[0], project_id=ref[1], error=repr(error))
        return False


async def _delete_step(pool: Pool, ref: ProjectRef) -> bool:
    """Delete some rows of a project, or the project after its last row. Return whether anything was deleted."""
    async with pool.acquire() as connection:
        run_ids = await project_deletions.find_runs(connection, ref, _MAX_RUNS)
    for run_id in run_ids:
        await _delete_run(pool, ref, run_id)
    if run_ids:
        return True
    async with pool.acquire() as connection:
        if await project_deletions.delete_cases(connection, ref, _MAX_ROWS):
            return True
        if await project_deletions.delete_quarantines(connection, ref, _MAX_ROWS):
            return True
        async with connection.transaction():
            deleted = await project_deletions.delete_project(connection, ref)
            if deleted:
                await publishers.delete_of_project(connection, *ref)
    if deleted:
        log.info("project_deleted", org_id=ref[0], project_id=ref[1])
    return deleted


async def _delete_run(pool: Pool, ref: ProjectRef, run_id: str) -> None:
    org_id, project_id = ref
    async with pool.acquire() as connection, notifying_transaction(connection):
        await limit_lock_wait(connection, _LOCK_WAIT_S)
        deleted = await deletions.delete_run(connection, org_id, run_id, project_id)
        if deleted is not None and deleted.trusted:
            event = InternalEvent(org_id, new_id("evt"), DELETED, project_id, run_id)
            await events.insert_internal(connection, [event])
