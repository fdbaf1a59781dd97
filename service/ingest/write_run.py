"""Changes of a run inside the caller's transaction: the checks, a writer for results in batches, and the events."""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import NamedTuple, Self

from service.comparison.model import FailingCaseRow
from service.database.database import Connection, RowDeleted
from service.domain.errors import Conflict, NotFound, Rejected
from service.domain.ids import OrgId, RunKey, new_id, run_key
from service.domain.statuses import Counts
from service.events import store as events_store
from service.events.contract import MAX_FAILING_CASES, run_json, write_run_object
from service.events.model import STORED, InternalEvent, NewEvent, run_event_types
from service.failures.minutes import NewMinutes, NoMinutes
from service.identity.publishers.job_claims import ORIGIN_FIELDS
from service.organizations import store as organizations_store
from service.results import model as results_model
from service.results import store as results_store
from service.results.model import CaseOutcomes, MergeEffects
from service.results.store import MergedResults, RunOutcomes
from service.runs import model as runs_model
from service.runs import store as runs_store
from service.runs.model import RunPart, RunState, describe_incomplete, is_untrusted_id
from service.runs.store import NewPart, StoredRun, row_of_stored
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


class RunWriter:
    """A writer for one part of a new or stored run. The results arrive in batches without a common case.

    `number` is the number of the part. Raises Rejected if the run has too many parts.
    """

    def __init__(self, run: StoredRun, part: RunPart, minutes: NewMinutes, *, is_new: bool) -> None:
        self.run = run
        self.number = run.parts.find(part)
        self.result_count = 0
        self.effects = MergeEffects()
        self._part = part
        self._minutes = minutes if run.trusted else NoMinutes()
        self._is_new = is_new
        self._counts = run.counts
        self._has_replaced = False
        self._has_failing = False

    @classmethod
    async def open(
        cls,
        connection: Connection,
        org_id: OrgId,
        state: RunState,
        part: RunPart,
        minutes: NewMinutes,
        claimed_fields: Sequence[str] = (),
        promoted_receipt: str | None = None,
    ) -> Self:
        """Insert the run, or lock the stored one. Raises Rejected if the stored run can't be merged.

        A report that a promotion names (`promoted_receipt`) creates no run: the promotion has stored it.
        """
        new = StoredRun.new(org_id, state, Counts())
        if promoted_receipt is None and await runs_store.insert_new(connection, [new]):
            return cls(new, part, minutes, is_new=True)
        known = (await runs_store.lock(connection, [new.ref])).get(new.ref)
        if known is None:
            if promoted_receipt is not None:
                raise Rejected("invalid", f"run_id: {state.run_id!r} was deleted after its promotion")
            raise await find_key_collision(connection, org_id, state)
        check_can_merge(known, state, promoted_receipt)
        _check_origin(known, state, claimed_fields)
        return cls(known, part, minutes, is_new=False)

    async def add(self, connection: Connection, outcomes: CaseOutcomes) -> None:
        """Store a batch of the results."""
        new = list(outcomes.values())
        self.result_count += len(new)
        self._has_failing = self._has_failing or any(map(results_model.is_failing, new))
        if not new:
            return
        if self._is_new:
            merged = MergedResults(new, results_model.count(new), {self.number: MergeEffects()})
        else:
            merged = await results_store.merge(connection, self.run.key_ref, {self.number: outcomes}, self.run.parts)
        await results_store.insert(connection, [RunOutcomes(*self.run.key_ref, merged.new)], self._minutes)
        self._counts = self._counts.add(merged.change)
        self.effects.add(merged.effects[self.number])
        self._has_replaced = self._has_replaced or bool(merged.new)

    async def close(
        self, connection: Connection, state: RunState, receipt_id: str, *, rejected_failing: bool
    ) -> RunChange | None:
        """Update the run and return the change; return None if nothing has changed.

        `state` is the state of the event after all results were read. `rejected_failing` states whether a rejected
        result can be a failure. Then, failures are missing. The run no longer awaits the receipt.
        """
        run = self.run
        part = NewPart(run.org_id, run.key, self.number, self._part, self.result_count > 0)
        await runs_store.insert_parts(connection, [part])
        if self._has_failing or rejected_failing:
            state = runs_model.set_failures_missing(state, is_missing=rejected_failing)
        if self._is_new:
            run.set_state(state, self._counts)
        else:
            merged = runs_model.merge(run.state, state)
            merged = replace(merged, awaited=merged.awaited - {receipt_id})
            if not self._has_replaced and merged == run.state:
                return None
            run.change(merged, self._counts)
        await runs_store.update(connection, [run])
        return RunChange(run, completed=run.completes, notify=state.notify and run.trusted)


def _check_origin(run: StoredRun, state: RunState, claimed_fields: Sequence[str]) -> None:
    """Raise Rejected if the upload of a CI job states another pipeline or branch, which its token proves.

    The request was checked too, but the run can have been stored after that.
    """
    for name in ORIGIN_FIELDS:
        if name in claimed_fields and run.fields.get(name) != state.field_versions[name][1]:
            raise Rejected("run_id_conflict", f"run_id: {state.run_id!r} is a run of another pipeline or branch")


async def complete_run(
    connection: Connection, org_id: OrgId, run_id: str, project_id: str | None, link_base: str
) -> None:
    """Complete a run that was sent with `final: false`, in the caller's notifying transaction.

    A complete run stays unchanged, except that no later event makes it incomplete. If `project_id` is set, only a run
    of this project is found. Raises NotFound, and Conflict if expected shards or results are missing.
    """
    run = (await runs_store.lock(connection, [(org_id, run_id)])).get((org_id, run_id))
    if run is None or project_id not in (None, run.state.project_id):
        raise NotFound(f"run {run_id[:100]!r} not found")
    if run.state.closed:
        return
    if run.complete:
        await runs_store.close(connection, run)
        return
    if (missing := describe_incomplete(run.state, run.counts)) is not None:
        raise Conflict(f"run {run_id!r} can't be completed: {missing}")
    run.change(replace(run.state, closed=True), run.counts)
    await runs_store.close(connection, run)
    await emit_run_events(connection, [RunChange(run, completed=run.completes, notify=run.trusted)], link_base)


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
        NewEvent(run.org_id, new_id("evt"), event_type, row.project_id, row.run_id, data, trace_context)
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
