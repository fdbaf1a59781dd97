"""The published events of a batch of runs, inserted in its transaction."""

from collections.abc import Mapping, Sequence
from typing import NamedTuple

from service.contracts.events import MAX_FAILING_CASES, run_json, write_run_object
from service.domain.events import STORED, InternalEvent, NewEvent, run_event_types
from service.domain.ids import OrgId, RunKey, new_id
from service.domain.rows import FailingCaseRow
from service.store import events, organizations
from service.store.postgres.database import Connection
from service.store.runs import StoredRun, run_row
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


async def emit_run_events(
    connection: Connection, changes: Sequence[RunChange], link_base: str, slugs: Mapping[OrgId, str] | None = None
) -> None:
    """Insert the events of these changes and their deliveries, in the caller's notifying transaction.

    `slugs` are those of the organizations, if the caller knows them.
    """
    silent = [change.run for change in changes if not change.notify]
    if silent:
        await events.insert_internal(connection, [_internal(run) for run in silent])
    changes = [change for change in changes if change.notify]
    if not changes:
        return
    failing = await _failing_cases(connection, changes)
    slugs = slugs or await organizations.find_slugs(connection, {change.run.org_id for change in changes})
    new_events = [
        NewEvent(run.org_id, new_id("evt"), event_type, row.project_id, row.run_id, data, trace_context)
        for run, completed, _, trace_context in changes
        for row in [run_row(run, slugs[run.org_id])]
        for data in [run_json(write_run_object(row, failing.get(run.key, []), link_base))]
        for event_type in run_event_types(row.status, completed=completed)
    ]
    await events.insert(connection, new_events)


def _internal(run: StoredRun) -> InternalEvent:
    return InternalEvent(run.org_id, new_id("evt"), STORED, run.state.project_id, run.state.run_id)


async def _failing_cases(connection: Connection, changes: Sequence[RunChange]) -> dict[RunKey, list[FailingCaseRow]]:
    refs = [run.key_ref for run, *_ in changes if run.counts.failed or run.counts.error]
    found: dict[RunKey, list[FailingCaseRow]] = {}
    for case in await events.find_failing_cases(connection, refs, MAX_FAILING_CASES) if refs else ():
        found.setdefault(case.run_key, []).append(case)
    return found
