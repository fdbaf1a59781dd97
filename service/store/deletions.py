"""Deletion of a run with its results, artifacts, and exports. Its cases stay, because other runs reference them."""

from collections.abc import Sequence
from datetime import timedelta
from typing import Final, NamedTuple

from service.domain.ids import OrgId, RunKey
from service.store.postgres.database import Connection
from service.store.postgres.statements import statements

UPLOADS_END_AFTER: Final = timedelta(hours=1)  # those that were in progress when their run was deleted

_SQL: Final = statements("deletions")


class DeletedRun(NamedTuple):
    """The project of a deleted run. Only readers of events who knew the run learn that it's gone: if it was trusted."""

    project_id: str
    trusted: bool


async def delete_run(
    connection: Connection, org_id: OrgId, run_id: str, project_id: str | None, kept_files: Sequence[str] = ()
) -> DeletedRun | None:
    """Delete the rows, and queue the deletion of their files, except `kept_files`.

    Return None if the run doesn't exist.
    """
    row = await connection.fetchrow(_SQL["delete_run"], org_id, run_id, project_id)
    if row is None:
        return None
    key = RunKey(row["run_key"])
    await connection.execute(_SQL["delete_results"], org_id, key)
    await connection.execute(_SQL["delete_details"], org_id, key)
    await connection.execute(_SQL["delete_shard_results"], org_id, key)
    await connection.execute(_SQL["delete_parts"], org_id, key)
    await connection.execute(_SQL["expire_exports"], org_id, key, run_id)
    await connection.execute(_SQL["delete_artifacts"], org_id, key, kept_files)
    await connection.execute(_SQL["queue_folder"], org_id, key, UPLOADS_END_AFTER)
    return DeletedRun(row["project_id"], row["trusted"])
