"""Completion of a run by a client, after its last event arrived."""

from dataclasses import replace

from service.domain.errors import Conflict, NotFound
from service.domain.ids import OrgId
from service.domain.runs import describe_incomplete
from service.store import runs
from service.store.postgres.database import Connection
from service.usecases.ingest.emit_events import RunChange, emit_run_events


async def complete_run(
    connection: Connection, org_id: OrgId, run_id: str, project_id: str | None, link_base: str
) -> None:
    """Complete a run that was sent with `final: false`, in the caller's notifying transaction.

    A complete run stays unchanged, except that no later event makes it incomplete. If `project_id` is set, only a run
    of this project is found. Raises NotFound, and Conflict if expected shards or results are missing.
    """
    run = (await runs.lock(connection, [(org_id, run_id)])).get((org_id, run_id))
    if run is None or project_id not in (None, run.state.project_id):
        raise NotFound(f"run {run_id[:100]!r} not found")
    if run.state.closed:
        return
    if run.complete:
        await runs.close(connection, run)
        return
    if (missing := describe_incomplete(run.state, run.counts)) is not None:
        raise Conflict(f"run {run_id!r} can't be completed: {missing}")
    run.change(replace(run.state, closed=True), run.counts)
    await runs.close(connection, run)
    await emit_run_events(connection, [RunChange(run, completed=run.completes, notify=run.trusted)], link_base)
