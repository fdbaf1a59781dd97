"""Deletion of projects in steps: each function deletes a limited number of rows, and can be repeated."""

from typing import Final

from service.domain.ids import OrgId
from service.store.postgres.database import Connection
from service.store.postgres.statements import statements
from service.store.projects import ProjectRef

_SQL: Final = statements("project_deletions")


async def find_requested(connection: Connection, limit: int) -> list[ProjectRef]:
    """Return the projects whose deletion was requested, those of the oldest requests first."""
    rows = await connection.fetch(_SQL["find_requested"], limit)
    return [(OrgId(row["org_id"]), row["project_id"]) for row in rows]


async def find_runs(connection: Connection, ref: ProjectRef, limit: int) -> list[str]:
    """Return the IDs of runs of the project, oldest first."""
    return [row["run_id"] for row in await connection.fetch(_SQL["find_runs"], *ref, limit)]


async def delete_cases(connection: Connection, ref: ProjectRef, limit: int) -> int:
    """Delete cases of a project that has no runs, and return their number."""
    return int(await connection.fetchval(_SQL["delete_cases"], *ref, limit))


async def delete_quarantines(connection: Connection, ref: ProjectRef, limit: int) -> int:
    """Delete quarantines of the project, and return their number."""
    return int(await connection.fetchval(_SQL["delete_quarantines"], *ref, limit))


async def delete_project(connection: Connection, ref: ProjectRef) -> bool:
    """Delete a project that has no runs. Return False if it was deleted already, or has runs. Requires a transaction.

    A process that knows cases of the organization reads them again before it stores runs of a new project.
    """
    if await connection.fetchval(_SQL["delete_project"], *ref) is None:
        return False
    await connection.execute(_SQL["count_deletion"], ref[0])
    return True
