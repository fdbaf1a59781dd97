"""Storage of one run whose results arrive in batches, inside the caller's transaction."""

from collections.abc import Sequence
from dataclasses import replace
from typing import Self

from service.domain import results, runs
from service.domain.errors import Rejected
from service.domain.ids import OrgId, run_key
from service.domain.job_claims import ORIGIN_FIELDS
from service.domain.parts import RunPart
from service.domain.runs import RunState
from service.domain.shards import CaseOutcomes, MergeEffects
from service.domain.statuses import Counts
from service.domain.untrusted import is_untrusted_id
from service.store import results as stored_results
from service.store import run_parts
from service.store import runs as stored_runs
from service.store.failure_groups import NewMinutes, NoMinutes
from service.store.postgres.database import Connection, RowDeleted
from service.store.results import MergedResults, RunOutcomes
from service.store.run_parts import NewPart
from service.store.runs import StoredRun
from service.usecases.ingest.emit_events import RunChange


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


def _check_origin(run: StoredRun, state: RunState, claimed_fields: Sequence[str]) -> None:
    """Raise Rejected if the upload of a CI job states another pipeline or branch, which its token proves.

    The request was checked too, but the run can have been stored after that.
    """
    for name in ORIGIN_FIELDS:
        if name in claimed_fields and run.fields.get(name) != state.field_versions[name][1]:
            raise Rejected("run_id_conflict", f"run_id: {state.run_id!r} is a run of another pipeline or branch")


async def find_key_collision(connection: Connection, org_id: OrgId, state: RunState) -> Rejected:
    """Return the rejection of a run that is neither new nor stored: another run has its key.

    Raises RowDeleted if no run has the key, so the run was deleted concurrently.
    """
    other = await stored_runs.find_run_id(connection, org_id, run_key(org_id, state.run_id, state.completed_ms))
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
        if promoted_receipt is None and await stored_runs.insert_new(connection, [new]):
            return cls(new, part, minutes, is_new=True)
        known = (await stored_runs.lock(connection, [new.ref])).get(new.ref)
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
        self._has_failing = self._has_failing or any(map(results.is_failing, new))
        if not new:
            return
        if self._is_new:
            merged = MergedResults(new, results.count(new), {self.number: MergeEffects()})
        else:
            merged = await stored_results.merge(connection, self.run.key_ref, {self.number: outcomes}, self.run.parts)
        await stored_results.insert(connection, [RunOutcomes(*self.run.key_ref, merged.new)], self._minutes)
        self._counts = self._counts.add(merged.change)
        self.effects.add(merged.effects[self.number])
        self._has_replaced = self._has_replaced or bool(merged.new)

    async def close(
        self, connection: Connection, state: RunState, receipt_id: str, *, rejected_failing: bool
    ) -> RunChange | None:
        """Update the run and return the change; return None if nothing has changed.

        `state` is that of the event after all results were read. `rejected_failing` states whether a rejected result
        can be a failure. Then, failures are missing. The run no longer awaits the receipt.
        """
        run = self.run
        part = NewPart(run.org_id, run.key, self.number, self._part, self.result_count > 0)
        await run_parts.write(connection, [part])
        if self._has_failing or rejected_failing:
            state = runs.set_failures_missing(state, is_missing=rejected_failing)
        if self._is_new:
            run.set_state(state, self._counts)
        else:
            merged = runs.merge(run.state, state)
            merged = replace(merged, awaited=merged.awaited - {receipt_id})
            if not self._has_replaced and merged == run.state:
                return None
            run.change(merged, self._counts)
        await stored_runs.update(connection, [run])
        return RunChange(run, completed=run.completes, notify=state.notify and run.trusted)
