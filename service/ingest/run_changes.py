"""What events and reports share if they change a run: the checks before the change, and the events after it."""

from collections.abc import Mapping, Sequence
from typing import NamedTuple

from service.comparison.model import FailingCaseRow
from service.database.database import Connection
from service.database.errors import RowDeleted
from service.domain.errors import Rejected
from service.domain.ids import OrgId, RunKey, new_id, run_key
from service.events import store as events_store
from service.events.contract import MAX_FAILING_CASES, run_json, write_run_object
from service.events.model import STORED, InternalEvent, NewEvent, run_event_types
from service.organizations import store as organizations_store
from service.runs import store as runs_store
from service.runs.model import RunState, is_untrusted_id
from service.runs.store import StoredRun, row_of_stored
from service.tracing.spans import TraceContext


class RunChange(NamedTuple):
    """A change of a run. `completed` is true for the change that makes the run complete, which occurs once.

    If `notify` is false, the change has only an internal event. Without a trace context, the change belongs to the
    current span.
    """

    run: StoredRun
    completed: bool
    notify: bool = True
    trace_context: TraceContext | None = None


def check_can_merge(run: StoredRun, state: RunState, receipt_id: str | None = None) -> None:
    """Raise Rejected if the stored run belongs to another project, or if its results have expired.

    Only the reports that its promotion names can change a promoted run.
    """
    if run.state.project_id != state.project_id:
        # The receipt can be visible to a key of the event's project, so the message doesn't name the other project.
        raise Rejected("run_id_conflict", f"run_id: {state.run_id!r} already exists in another project")
    if receipt_id is not None and receipt_id not in run.state.awaited:
        raise Rejected("invalid", f"run_id: {state.run_id!r} was deleted after its promotion")
    if run.trusted and is_untrusted_id(state.run_id) and receipt_id is None:
        raise Rejected("run_id_conflict", f"run_id: {state.run_id!r} was promoted, so no upload can change it")
    if run.results_expired:
        raise Rejected("completed_at_out_of_range", f"run_id: the results of run {state.run_id!r} have expired")


async def find_key_collision(connection: Connection, org_id: OrgId, state: RunState) -> Rejected:
    """Return the rejection of a run that is neither new nor stored: another run has its key.

    Raises RowDeleted if no run has the key, so the run was deleted concurrently.
    """
    other = await runs_store.find_run_id(connection, org_id, run_key(org_id, state.run_id, state.completed_ms))
    if other is None or other == state.run_id:
        raise RowDeleted(f"run {state.run_id!r} was deleted concurrently")
    return Rejected("run_id_conflict", f"run_id: {state.run_id!r} has the same key as the existing run {other!r}")


async def emit_run_events(
    connection: Connection, changes: Sequence[RunChange], link_base: str, slugs: Mapping[OrgId, str] | None = None
) -> None:
    """Insert the events of these changes and their deliveries, in the caller's notifying transaction.

    `slugs` are the slugs of the organizations, if the caller knows them.
    """
    silent = [change.run for change in changes if not change.notify]
    if silent:
        internal = [
            InternalEvent(run.org_id, new_id("evt"), STORED, run.state.project_id, run.state.run_id) for run in silent
        ]
        await events_store.insert_internal(connection, internal)
    changes = [change for change in changes if change.notify]
    if not changes:
        return
    failing = await _failing_cases(connection, changes)
    slugs = slugs or await organizations_store.find_slugs(connection, {change.run.org_id for change in changes})
    new_events = [
        NewEvent(run.org_id, new_id("evt"), event_type, row.project_id, row.run_id, data, trace_context, row.branch)
        for run, completed, _, trace_context in changes
        for row in [row_of_stored(run, slugs[run.org_id])]
        for data in [run_json(write_run_object(row, failing.get(run.key, []), link_base))]
        for event_type in run_event_types(row.status, completed=completed)
    ]
    await events_store.insert(connection, new_events)


async def _failing_cases(connection: Connection, changes: Sequence[RunChange]) -> dict[RunKey, list[FailingCaseRow]]:
    refs = [run.key_ref for run, *_ in changes if run.counts.failed or run.counts.error]
    found: dict[RunKey, list[FailingCaseRow]] = {}
    for case in await events_store.find_failing_cases(connection, refs, MAX_FAILING_CASES) if refs else ():
        found.setdefault(case.run_key, []).append(case)
    return found
