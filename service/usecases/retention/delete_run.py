"""Deletion of a run with its results, artifacts, and files."""

from service.domain.errors import NotFound
from service.domain.events import DELETED, InternalEvent
from service.domain.ids import OrgId, new_id
from service.store import deletions, events
from service.store.postgres.database import Connection


async def delete_run(connection: Connection, org_id: OrgId, run_id: str, project_id: str | None) -> None:
    """Delete a run. Requires a notifying transaction. Upkeep deletes the files after the commit.

    A redelivered event doesn't create the run again, because its receipt stays. Raises NotFound if the run doesn't
    exist.
    """
    deleted = await deletions.delete_run(connection, org_id, run_id, project_id)
    if deleted is None:
        raise NotFound(f"run {run_id[:100]!r} not found")
    if deleted.trusted:  # exports of changes contain no other run
        event = InternalEvent(org_id, new_id("evt"), DELETED, deleted.project_id, run_id)
        await events.insert_internal(connection, [event])
