"""Projects. They are never deleted, and each project of a stored run has a row."""

from collections.abc import Collection, Mapping
from typing import Any, Final

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


async def change(connection: Connection, org_id: OrgId, project_id: str, changes: Mapping[str, Any]) -> bool:
    """Change these columns. Return False if the project doesn't exist."""
    values = (changes.get(name) for name in ("default_branch", "code_url_pattern"))
    return await connection.fetchval(_SQL["change"], org_id, project_id, list(changes), *values) is not None
