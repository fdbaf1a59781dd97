"""Pins of runs: the retention deletes neither a pinned run nor its results and artifacts."""

from service.domain.errors import Conflict, NotFound
from service.domain.ids import OrgId
from service.store import runs
from service.store.postgres.database import Connection


async def set_pinned(
    connection: Connection, org_id: OrgId, run_id: str, project_id: str | None, *, pinned: bool
) -> None:
    """Pin or unpin a run. Raises NotFound if the run doesn't exist, and Conflict for an untrusted run."""
    is_set = await runs.set_pinned(connection, org_id, run_id, project_id, pinned=pinned)
    if is_set is False:
        raise Conflict(f"run {run_id!r} isn't trusted, so it can't be pinned. Promote it first")
    if is_set is None:
        raise NotFound(f"run {run_id[:100]!r} not found")
