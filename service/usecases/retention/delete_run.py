"""Deletes a run with its results, artifacts and files."""

from service.domain.errors import NotFound
from service.domain.ids import OrgId
from service.storage import Storage
from service.store import deletions
from service.store.postgres.database import Connection


async def delete_run(
    connection: Connection, storage: Storage, org_id: OrgId, run_id: str, project_id: str | None
) -> None:
    """Call it in a transaction: files go before its commit, so that a failure leaves rows by which to try again.

    An event of the run that comes again changes nothing: its receipt stays. Raises NotFound where there is no run.
    """
    paths = await deletions.delete_run(connection, org_id, run_id, project_id)
    if paths is None:
        raise NotFound(f"there is no run {run_id[:100]!r}")
    for path in paths:
        await storage.delete(path)
