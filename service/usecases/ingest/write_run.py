"""Writes one run whose results come in pieces, inside the caller's transaction: only its end makes them visible."""

from collections.abc import Sequence
from typing import Self

from service.domain import results, runs
from service.domain.errors import Rejected
from service.domain.ids import OrgId
from service.domain.results import CaseOutcome, Counts
from service.domain.runs import RunState
from service.store import results as stored_results
from service.store import runs as stored_runs
from service.store.postgres.database import Connection
from service.store.results import RunOutcomes
from service.store.runs import StoredRun
from service.usecases.ingest.emit_events import RunChange


def check_can_merge(run: StoredRun, state: RunState) -> None:
    """Raises Rejected where a known run is another project's, or its results have expired and its counts stay."""
    if run.state.project_id != state.project_id:
        message = f"run_id: {state.run_id!r} belongs to project {run.state.project_id!r}"
        raise Rejected("run_id_conflict", message)
    if run.results_expired:
        raise Rejected("completed_at_out_of_range", f"run_id: {state.run_id!r} is a run whose results have expired")


class RunWriter:
    """A new run, or a known one that takes more in. No case may come in two pieces."""

    def __init__(self, run: StoredRun, state: RunState, *, is_new: bool) -> None:
        self.run = run
        self.taken = 0
        self._facts = state
        self._is_new = is_new
        self._replaced = False

    @classmethod
    async def open(cls, connection: Connection, org_id: OrgId, state: RunState) -> Self:
        """Inserts the run, or locks the known one. Raises Rejected where that is another project's, or expired."""
        new = StoredRun.new(org_id, state, Counts())
        if await stored_runs.insert_new(connection, [new]):
            return cls(new, state, is_new=True)
        [known] = (await stored_runs.lock(connection, [(org_id, state.run_id)])).values()
        check_can_merge(known, state)
        return cls(known, state, is_new=False)

    async def add(self, connection: Connection, outcomes: Sequence[CaseOutcome]) -> None:
        """Takes further results in."""
        self.taken += len(outcomes)
        if not outcomes:
            return
        rows = RunOutcomes(self.run.org_id, self.run.key, outcomes)
        if self._is_new:
            await stored_results.insert(connection, [rows])
            more = results.count(outcomes)
            self.run.counts = Counts(*map(sum, zip(self.run.counts, more, strict=True)))
        else:
            winners = await stored_results.replace_older(connection, rows)
            self._replaced = self._replaced or bool(winners.outcomes)

    async def close(self, connection: Connection) -> RunChange | None:
        """Writes what has become of the run; None where nothing has changed."""
        run, was_complete = self.run, self.run.complete and not self._is_new
        if not self._is_new:
            merged = runs.merge(run.state, self._facts)
            if not self._replaced and merged == run.state:
                return None
            run.state = merged
            run.counts = await stored_runs.count_results(connection, run.org_id, run.key)
            run.revision += 1
        await stored_runs.update(connection, run)
        return RunChange(run, completed=run.complete and not was_complete)
