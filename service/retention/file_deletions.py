"""Queue of the files to delete in storage. Every change that deletes or replaces a file adds its path."""

from collections.abc import Collection, Sequence
from datetime import timedelta
from typing import Final, NamedTuple

from service.database.database import Connection
from service.database.statements import statements
from service.domain.ids import OrgId

_SQL: Final = statements("retention")


class FileDeletion(NamedTuple):
    """A file to delete, or the folder of a deleted run, whose files without a row must be deleted."""

    org_id: OrgId
    path: str

    @property
    def is_folder(self) -> bool:
        """Whether the path is a folder."""
        return self.path.endswith("/")


async def queue(connection: Connection, org_id: OrgId, paths: Collection[str]) -> None:
    """Queue the deletion of files in the transaction that deletes the rows that refer to them."""
    await connection.execute(_SQL["queue"], org_id, paths)


async def lease(connection: Connection, duration: timedelta, limit: int) -> list[FileDeletion]:
    """Return due deletions of any organization, and postpone their next attempt by the duration of the lease.

    A lease needs no fencing token, because the deletion of a file is idempotent.
    """
    rows = await connection.fetch(_SQL["lease"], duration, limit)
    return [FileDeletion(OrgId(row["org_id"]), row["path"]) for row in rows]


async def finish(connection: Connection, deleted: Sequence[FileDeletion]) -> None:
    """Remove deletions from the queue after their files were deleted."""
    await connection.execute(
        _SQL["finish"], [deletion.org_id for deletion in deleted], [deletion.path for deletion in deleted]
    )
