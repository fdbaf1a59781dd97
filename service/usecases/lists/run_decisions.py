"""The decisions about the runs of a page for a caller."""

from collections.abc import Sequence

from service.domain.gates import DecisionSummary, choose_decision
from service.domain.ids import RunKey
from service.domain.keys import Caller
from service.domain.rows import RunRow
from service.store.postgres.database import Pool, as_organization
from service.store.queries import run_decisions


async def find_run_decisions(pool: Pool, caller: Caller, runs: Sequence[RunRow]) -> dict[RunKey, DecisionSummary]:
    """Return the decision to show for each run of a page that the caller has read. Other runs have none.

    Only a decision about the revision of the row counts, and none about a deleted run with the same ID.
    """
    visible = [run for run in runs if caller.project_id in (None, run.project_id)]
    if not visible:
        return {}
    async with as_organization(pool, caller.org_id) as connection:
        decisions = await run_decisions.find_by_run(connection, caller.org_id, visible)
        created = await run_decisions.find_creation(connection, caller.org_id, list(decisions)) if decisions else {}
    chosen = {
        key: choose_decision(decision for decision in found if key in created and decision.created_at >= created[key])
        for key, found in decisions.items()
    }
    return {key: summary for key, summary in chosen.items() if summary is not None}
