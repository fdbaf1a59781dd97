"""The writer of the run of a report, whose results arrive in batches, inside the transaction of the report."""

from collections.abc import Sequence
from dataclasses import replace
from typing import Self

from service.database.database import Connection
from service.domain.errors import Rejected
from service.domain.ids import OrgId
from service.domain.statuses import Counts
from service.failures.minutes import NewMinutes, NoMinutes
from service.identity.publishers.job_claims import ORIGIN_FIELDS
from service.ingest.run_changes import RunChange, check_can_merge, find_key_collision
from service.results import model as results_model
from service.results import store as results_store
from service.results.model import CaseOutcomes, MergeEffects
from service.results.store import MergedResults, RunOutcomes
from service.runs import model as runs_model
from service.runs import store as runs_store
from service.runs.model import RunPart, RunState
from service.runs.store import NewPart, StoredRun


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
