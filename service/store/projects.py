"""Projects. They are never deleted, and each project of a stored run has a row."""

from collections.abc import Collection
from typing import Final

from service.domain.ids import OrgId
from service.store.postgres.database import Connection
from service.store.postgres.statements import statements

_SQL: Final = statements("projects")

ProjectRef = tuple[OrgId, str]


async def insert_unseen(connection: Connection, refs: Collection[ProjectRef]) -> None:
    """Insert the projects that aren't stored yet.

    Call this at the end of a transaction: another transaction that inserts the same project waits for its commit.
    """
    if refs:
        await connection.execute(_SQL["insert_unseen"], *map(list, zip(*refs, strict=True)))


async def set_default_branch(connection: Connection, org_id: OrgId, project_id: str, branch: str) -> bool:
    """Change the default branch. Return False if the project doesn't exist."""
    return await connection.fetchval(_SQL["set_default_branch"], org_id, project_id, branch) is not None
