"""Projects. They are never deleted, and each project of a stored run has a row."""

from collections.abc import Collection, Iterable
from typing import Final

from cachetools import LRUCache

from service.domain.ids import OrgId
from service.store.postgres.database import Connection
from service.store.postgres.statements import statements

_SQL: Final = statements("projects")
_MAX_KNOWN: Final = 20_000  # about 5 MB

ProjectRef = tuple[OrgId, str]


class KnownProjects:
    """A cache of committed projects: the most recently used ones."""

    def __init__(self) -> None:
        self._known: LRUCache[ProjectRef, None] = LRUCache(_MAX_KNOWN)

    def find_unseen(self, refs: Iterable[ProjectRef]) -> set[ProjectRef]:
        """Return the projects that might not be stored."""
        return {ref for ref in refs if ref not in self._known}

    def add(self, refs: Iterable[ProjectRef]) -> None:
        """Add projects. Call this only after they are committed."""
        self._known.update(dict.fromkeys(refs))


async def insert_unseen(connection: Connection, refs: Collection[ProjectRef]) -> None:
    """Insert the projects that aren't stored yet.

    Call this at the end of a transaction: another transaction that inserts the same project waits for its commit.
    """
    if refs:
        await connection.execute(_SQL["insert_unseen"], *map(list, zip(*refs, strict=True)))


async def set_default_branch(connection: Connection, org_id: OrgId, project_id: str, branch: str) -> bool:
    """Change the default branch. Return False if the project doesn't exist."""
    return await connection.fetchval(_SQL["set_default_branch"], org_id, project_id, branch) is not None
