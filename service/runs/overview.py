"""A run with everything that its page shows: its changes, decisions, failure groups, some results, and receipts."""

from collections.abc import Mapping, Sequence
from typing import Final, NamedTuple

from service.comparison.operations import ComparisonPage, find_first_changes
from service.contracts.queries import PageQuery
from service.database.database import Pool, as_organization
from service.database.pages import ListPage
from service.database.statements import ROW_BUDGET
from service.domain.filters import ResultFilter
from service.domain.ids import CaseKey, RunKey
from service.domain.statuses import StateValue
from service.failures.contract import FailureQuery
from service.failures.model import FailureGroupRow
from service.failures.operations import list_failures
from service.gates import store as gates_store
from service.gates.contract import Decision, DecisionQuery, Excuse
from service.gates.excuse_part import list_excuses_of_run
from service.gates.model import DecisionSummary, choose_decision
from service.gates.operations import list_decisions, list_gates
from service.identity.keys.model import Caller, permissions_of
from service.quarantines.contract import Quarantine
from service.quarantines.operations import find_excuses
from service.receipts.contract import ReceiptQuery, write_receipt
from service.receipts.model import ReceiptDetails, describe_missing
from service.receipts.operations import list_receipts
from service.results.operations import list_results
from service.results.rows import ResultRow
from service.runs import store
from service.runs.model import RunRow
from service.states.read_states import find_states

CHANGED_RESULTS: Final = 20  # of each change
_RESULTS: Final = 5
_GROUPS: Final = 5
_RECEIPTS: Final = 100
_DECISIONS: Final = 200
_GATES: Final = 100
_DECISION_ORDER: Final = ("blocked", "waived", "passed")


class RunFailureGroups(NamedTuple):
    """The largest failure groups of a run. If truncated, not all failures were read, and the counts are minimums."""

    groups: Sequence[FailureGroupRow] = ()
    has_more: bool = False
    truncated: bool = False


class RunReceipts(NamedTuple):
    """The newest receipts of a run. `listed` is None if the caller can't read them.

    Any caller can know whether a report isn't completely processed, and whether a rejected one wasn't replaced:
    otherwise, a run without these results would look passed to a viewer.
    """

    listed: ListPage[ReceiptDetails] | None
    is_processing: bool
    is_rejected: bool


class RunOverview(NamedTuple):
    """The data of the page of a run.

    `arrived_shards` are those of an incomplete run that expects shards. `decisions` has the newest one of each gate and
    policy. `job_excuses` are the newest ones. `changes` is None if the results have expired; `excuses` are the
    quarantines that it refers to, and `case_states` its unhealthy cases by state.
    """

    arrived_shards: Sequence[int]
    decisions: Sequence[Decision]
    job_excuses: Sequence[Excuse]
    gates: Sequence[str]
    changes: ComparisonPage | None
    excuses: Mapping[str, Quarantine]
    case_states: Mapping[StateValue, set[CaseKey]]
    failure_groups: RunFailureGroups
    flaky: Sequence[ResultRow]
    slowest: Sequence[ResultRow]
    receipts: RunReceipts | None


async def find_overview(pool: Pool, caller: Caller, run: RunRow) -> RunOverview:
    """Return the data of the page. Raises NotFound if the run was deleted, and Gone if its results have expired."""
    has_results = not run.results_expired
    changes = await find_first_changes(pool, caller, run.run_id, CHANGED_RESULTS) if has_results else None
    return RunOverview(
        arrived_shards=await _find_shards(pool, caller, run),
        decisions=await _find_decisions(pool, caller, run.run_id),
        job_excuses=await list_excuses_of_run(pool, caller, run),
        gates=[gate["name"] for gate in (await list_gates(pool, caller, PageQuery(limit=_GATES))).items],
        changes=changes,
        excuses=await find_excuses(pool, caller, changes.items) if changes else {},
        case_states=await find_states(pool, caller, [row.result.case_key for row in changes.items]) if changes else {},
        failure_groups=await _find_groups(pool, caller, run.run_id) if has_results else RunFailureGroups(),
        flaky=await _find_flaky(pool, caller, run.run_id) if has_results and run.counts.flaky else [],
        slowest=await _find_slowest(pool, caller, run.run_id) if has_results and is_sortable(run) else [],
        receipts=await find_receipts_of_run(pool, caller, run.run_id),
    )


async def _find_shards(pool: Pool, caller: Caller, run: RunRow) -> Sequence[int]:
    if run.complete or run.expected_shards is None:
        return ()
    async with as_organization(pool, caller.org_id) as connection:
        return await store.find_shards(connection, caller.org_id, run.run_key)


async def _find_decisions(pool: Pool, caller: Caller, run_id: str) -> Sequence[Decision]:
    """Return the newest decision of each gate and of each recorded policy, blocked ones first."""
    newest: dict[tuple[str | None, str], Decision] = {}
    for decision in (await list_decisions(pool, caller, DecisionQuery(run_id=run_id, limit=_DECISIONS))).items:
        policy = "" if decision["gate"] is not None else str(sorted(decision["policy"].items()))
        newest.setdefault((decision["gate"], policy), decision)
    return sorted(newest.values(), key=lambda decision: _DECISION_ORDER.index(decision["decision"]))


async def _find_groups(pool: Pool, caller: Caller, run_id: str) -> RunFailureGroups:
    query = FailureQuery.model_validate({"run_id": run_id, "limit": _GROUPS + 1})
    found = await list_failures(pool, caller, query)
    return RunFailureGroups(found.groups[:_GROUPS], len(found.groups) > _GROUPS, found.truncated)


async def _find_flaky(pool: Pool, caller: Caller, run_id: str) -> Sequence[ResultRow]:
    filter_ = ResultFilter(run_id=run_id, flaky=True, trusted="any")
    return (await list_results(pool, caller, filter_, PageQuery(limit=_RESULTS))).items


async def _find_slowest(pool: Pool, caller: Caller, run_id: str) -> Sequence[ResultRow]:
    """Return the results with the longest known durations."""
    filter_ = ResultFilter(run_id=run_id, sort="-duration_ms", trusted="any")
    found = await list_results(pool, caller, filter_, PageQuery(limit=_RESULTS))
    return [result for result in found.items if result.duration_ms]


def is_sortable(run: RunRow) -> bool:
    """Return whether a page sorts the results of a run."""
    return run.counts.total <= ROW_BUDGET


async def find_receipts_of_run(pool: Pool, caller: Caller, run_id: str) -> RunReceipts | None:
    """Return the newest receipts of a run, which needn't be stored, or None if there are none."""
    query = ReceiptQuery.model_construct(run_id=run_id, limit=_RECEIPTS)  # also for an ID that no run can have
    page = await list_receipts(pool, caller, query)
    if not page.items:
        return None
    return RunReceipts(
        page if "reports:create" in permissions_of(caller.role) else None,
        any(receipt.is_open for receipt in page.items),
        describe_missing(list(map(write_receipt, page.items))) is not None,
    )


async def find_run_decisions(pool: Pool, caller: Caller, runs: Sequence[RunRow]) -> dict[RunKey, DecisionSummary]:
    """Return the decision to show for each run of a page that the caller has read. Other runs have none.

    Only a decision about the revision of the row counts, and none about a deleted run with the same ID.
    """
    visible = [run for run in runs if caller.project_id in (None, run.project_id)]
    if not visible:
        return {}
    async with as_organization(pool, caller.org_id) as connection:
        decisions = await gates_store.find_by_run(connection, caller.org_id, visible)
        created = await gates_store.find_creation(connection, caller.org_id, list(decisions)) if decisions else {}
    chosen = {
        key: choose_decision(decision for decision in found if key in created and decision.created_at >= created[key])
        for key, found in decisions.items()
    }
    return {key: summary for key, summary in chosen.items() if summary is not None}
