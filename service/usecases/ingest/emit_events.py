"""What a committed change is told as: the events of a batch of runs, written in its transaction."""

from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Final, NamedTuple
from urllib.parse import quote

from service.contracts.events import MAX_FAILING_CASES, FailingCase, RunObject, counts_object, rfc3339, run_json
from service.domain import runs
from service.domain.events import NewEvent, run_event_types
from service.domain.ids import RunKey, case_public_id, new_id, result_id
from service.domain.statuses import STATUS_NAMES
from service.domain.texts import first_line
from service.store import events
from service.store.postgres.database import Connection, Row
from service.store.runs import StoredRun

_TEXT: Final = 200  # characters of a name or a message in an event


class RunChange(NamedTuple):
    """A run that a batch has changed. `completed` is true once in the life of a run."""

    run: StoredRun
    completed: bool


async def emit_run_events(connection: Connection, changes: Sequence[RunChange], link_base: str) -> None:
    """Writes the events of these changes, with their deliveries. The caller's transaction makes them true."""
    failing = await _failing_cases(connection, changes)
    made = [
        NewEvent(run.org_id, new_id("evt"), event_type, run.state.project_id, run.state.run_id, data)
        for run, completed in changes
        for data in [run_json(_run_object(run, failing.get(run.key, []), link_base))]
        for event_type in run_event_types(_status(run), completed=completed)
    ]
    if made:
        await events.insert(connection, made)


async def _failing_cases(connection: Connection, changes: Sequence[RunChange]) -> dict[RunKey, list[FailingCase]]:
    addresses = [(run.org_id, run.key) for run, _ in changes if run.counts.failed or run.counts.error]
    found: dict[RunKey, list[FailingCase]] = {}
    for row in await events.find_failing_cases(connection, addresses, MAX_FAILING_CASES) if addresses else ():
        found.setdefault(row["run_key"], []).append(_failing_case(row))
    return found


def _failing_case(row: Row) -> FailingCase:
    key, case, letter, said, case_id, suite, name, file = row
    return {
        "id": result_id(key, case),
        "case": case_public_id(case),
        "case_id": case_id,
        "suite": suite[:_TEXT],
        "name": name[:_TEXT],
        "file": file and file[:_TEXT],
        "status": STATUS_NAMES[letter],
        "failure_summary": first_line(said, _TEXT) if said else None,
    }


def _run_object(run: StoredRun, failing: list[FailingCase], link_base: str) -> RunObject:
    state, counts = run.state, run.counts
    said = {name: value for name, (_, value) in state.field_versions.items()}
    named = quote(state.run_id, safe="")
    return {
        "run_id": state.run_id,
        "project_id": state.project_id,
        "environment": said.get("environment"),
        "branch": said.get("branch"),
        "commit_sha": (said.get("commit_sha") or "")[:_TEXT] or None,
        "labels": said.get("labels") or {},
        "status": _status(run),
        "complete": run.complete,
        "counts": counts_object(counts),
        "revision": run.revision,
        "started_at": None if state.started_ms is None else _moment(state.started_ms),
        "completed_at": _moment(state.completed_ms),
        "duration_ms": runs.duration_ms(state),
        "failing_cases": failing,
        "truncated": counts.failed + counts.error > len(failing),
        "links": {
            "run": f"{link_base}/v1/runs/{named}",
            "results": f"{link_base}/v1/results?run_id={named}",
            "ci": said.get("ci_url"),
        },
    }


def _status(run: StoredRun) -> str:
    return STATUS_NAMES[runs.run_status(run.state, run.counts)]


def _moment(ms: int) -> str:
    return rfc3339(datetime.fromtimestamp(ms / 1000, UTC))
