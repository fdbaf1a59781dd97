"""Deletion of a run with its results, artifacts, and exports. Its cases stay, because other runs reference them."""

from typing import Final

from service.domain.ids import OrgId, RunKey
from service.store.postgres.database import Connection
from service.store.postgres.statements import statements

_SQL: Final = statements("deletions")


async def delete_run(connection: Connection, org_id: OrgId, run_id: str, project_id: str | None) -> list[str] | None:
    """Delete the rows, and return the paths of their files in storage; None if the run doesn't exist."""
    key: RunKey | None = await connection.fetchval(_SQL["delete_run"], org_id, run_id, project_id)
    if key is None:
        return None
    for statement in ("delete_results", "delete_details"):
        await connection.execute(_SQL[statement], org_id, key)
    paths = [row["path"] for row in await connection.fetch(_SQL["delete_artifacts"], org_id, key)]
    await connection.execute(_SQL["expire_exports"], org_id, run_id, paths)
    return paths
