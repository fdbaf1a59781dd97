"""The published events of a batch of runs, inserted in its transaction."""

from collections.abc import Sequence
from typing import Final, NamedTuple
from urllib.parse import quote

from service.contracts.events import MAX_FAILING_CASES, FailingCase, RunObject, counts_object, run_json
from service.domain import runs
from service.domain.events import STORED, InternalEvent, NewEvent, run_event_types
from service.domain.ids import RunKey, case_public_id, new_id, result_id
from service.domain.statuses import STATUS_NAMES
from service.domain.timestamps import format_ms
from service.store import events, organizations
from service.store.postgres.database import Connection, Row
from service.store.runs import StoredRun
from service.tracing.spans import TraceContext

_MAX_TEXT: Final = 200  # characters of a name or a message in an event


class RunChange(NamedTuple):
    """A change of a run. `completed` is true for the change that makes the run complete, which occurs once.

    If `notify` is false, the change has only an internal event. Without a trace context, the change belongs to the
    current span.
    """

    run: StoredRun
    completed: bool
    notify: bool = True
    trace_context: TraceContext | None = None


async def emit_run_events(connection: Connection, changes: Sequence[RunChange], link_base: str) -> None:
    """Insert the events of these changes and their deliveries, in the caller's notifying transaction."""
    silent = [change.run for change in changes if not change.notify]
    if silent:
        await events.insert_internal(connection, [_internal(run) for run in silent])
    changes = [change for change in changes if change.notify]
    failing = await _failing_cases(connection, changes)
    slugs = await organizations.find_slugs(connection, {change.run.org_id for change in changes}) if changes else {}
    new_events = [
        NewEvent(run.org_id, new_id("evt"), event_type, run.state.project_id, run.state.run_id, data, trace_context)
        for run, completed, _, trace_context in changes
        for data in [run_json(_run_object(run, slugs[run.org_id], failing.get(run.key, []), link_base))]
        for event_type in run_event_types(_status(run), completed=completed)
    ]
    if new_events:
        await events.insert(connection, new_events)


def _internal(run: StoredRun) -> InternalEvent:
    return InternalEvent(run.org_id, new_id("evt"), STORED, run.state.project_id, run.state.run_id)


async def _failing_cases(connection: Connection, changes: Sequence[RunChange]) -> dict[RunKey, list[FailingCase]]:
    refs = [run.key_ref for run, *_ in changes if run.counts.failed or run.counts.error]
    found: dict[RunKey, list[FailingCase]] = {}
    for row in await events.find_failing_cases(connection, refs, MAX_FAILING_CASES) if refs else ():
        found.setdefault(row["run_key"], []).append(_failing_case(row))
    return found


def _failing_case(row: Row) -> FailingCase:
    key, case, status_code, summary, case_id, variant, suite, name, file = row
    return {
        "id": result_id(key, case),
        "case": case_public_id(case),
        "case_id": case_id,
        "variant": variant,
        "suite": suite[:_MAX_TEXT],
        "name": name[:_MAX_TEXT],
        "file": file and file[:_MAX_TEXT],
        "status": STATUS_NAMES[status_code],
        "failure_summary": summary,
    }


def _run_object(run: StoredRun, slug: str, failing: list[FailingCase], link_base: str) -> RunObject:
    state, counts = run.state, run.counts
    fields = {name: value for name, (_, value) in state.field_versions.items()}
    quoted_run_id = quote(state.run_id, safe="")
    return {
        "id": state.run_id,
        "organization_id": slug,
        "run_id": state.run_id,
        "project_id": state.project_id,
        "environment": fields.get("environment"),
        "branch": fields.get("branch"),
        "base_branch": fields.get("base_branch"),
        "pull_request": fields.get("pull_request"),
        "commit_sha": (fields.get("commit_sha") or "")[:_MAX_TEXT] or None,
        "labels": fields.get("labels") or {},
        "status": _status(run),
        "failures_missing": state.failures_missing,
        "complete": run.complete,
        "counts": counts_object(counts),
        "revision": run.revision,
        "started_at": None if state.started_ms is None else format_ms(state.started_ms),
        "completed_at": format_ms(state.completed_ms),
        "duration_ms": runs.duration_ms(state),
        "failing_cases": failing,
        "truncated": counts.failed + counts.error > len(failing),
        "links": {
            "run": f"{link_base}/v1/runs/{quoted_run_id}",
            "results": f"{link_base}/v1/results?run_id={quoted_run_id}",
            "console": f"{link_base}/console/runs/{quoted_run_id}",
            "ci": fields.get("ci_url"),
        },
    }


def _status(run: StoredRun) -> str:
    return STATUS_NAMES[runs.run_status(run.state, run.counts)]
