"""The data of the page of a run. All of them are of one snapshot, and from the functions that the API calls."""

from collections.abc import Collection, Iterable, Mapping
from itertools import groupby, islice
from typing import Any, Final, NamedTuple

import orjson

from service.console.trends import to_ms
from service.contracts.receipts import write_receipt
from service.domain.comparison import LISTED_CHANGES, Change
from service.domain.evidence import describe_evidence, describe_quarantine
from service.domain.filters import ResultFilter
from service.domain.ids import OrgId, RunKey, run_key
from service.domain.keys import PERMISSIONS, Caller
from service.domain.receipts import describe_missing, is_unfinished
from service.store import decisions, gates, quarantines
from service.store.decisions import DecisionFilter
from service.store.postgres.composition import ROW_BUDGET
from service.store.postgres.database import Connection, Pool, as_organization
from service.store.postgres.transactions import reading_snapshot
from service.store.quarantines import QuarantineRef
from service.store.queries import failures, receipts, results, runs
from service.store.queries.runs import RunSelector
from service.usecases.lists.find_run import run_not_found
from service.usecases.lists.list_comparison import ComparisonPage, find_first_changes

_PER_CHANGE: Final = 10
_GROUPS: Final = 10
_SLOWEST: Final = 10
_FLAKY: Final = 10
_RECEIPTS: Final = 100
_DECISIONS: Final = 200
_GATES: Final = 100
_LISTED_SHARDS: Final = 10
_DECISION_ORDER: Final = ("blocked", "waived", "passed")


class ChangedResults(NamedTuple):
    """The results with one change. `total` counts those that aren't listed, too; None if they aren't counted."""

    change: Change
    total: int | None
    items: list[dict[str, Any]]


class RunChangesView(NamedTuple):
    """The comparison of a run: the groups that have results, the counts of all changes, and the baseline."""

    groups: list[ChangedResults]
    counts: Mapping[Change, int | None]
    baseline: dict[str, Any] | None
    truncated: bool


class ReceivedReports(NamedTuple):
    """The receipts of a run, newest first, and which rejected reports are missing."""

    items: list[dict[str, Any]]
    missing: str | None
    has_more: bool

    @property
    def is_processing(self) -> bool:
        """Return whether a report isn't processed yet."""
        return any(map(is_unfinished, self.items))


class RunFailureGroups(NamedTuple):
    """The largest failure groups of a run. If truncated, not all failures were read, and the counts are minimums."""

    items: list[dict[str, Any]]
    has_more: bool
    truncated: bool


class RunOverview(NamedTuple):
    """The objects of the API that the page of a run shows.

    `changes` is None if the results have expired, and `reports` if the caller can't read receipts. `decisions` are the
    newest ones of each gate. `missing` states what an incomplete run still expects.
    """

    run: dict[str, Any]
    missing: str | None
    decisions: list[dict[str, Any]]
    gates: list[str]
    changes: RunChangesView | None
    failure_groups: RunFailureGroups
    flaky: list[dict[str, Any]]
    slowest: list[dict[str, Any]]
    reports: ReceivedReports | None


_NO_GROUPS: Final = RunFailureGroups([], False, False)


async def find_overview(pool: Pool, caller: Caller, selector: RunSelector) -> RunOverview:
    """Return the data of the page. Raises NotFound."""
    async with as_organization(pool, caller.org_id) as connection, reading_snapshot(connection):
        run = await find_run(connection, caller.org_id, selector)
        has_results = not run["results_expired"]
        key = run_key(caller.org_id, run["run_id"], to_ms(run["completed_at"]))
        changes = await _find_changes(connection, caller, selector) if has_results else None
        return RunOverview(
            run,
            await _describe_incomplete(connection, caller.org_id, run, key),
            await _find_decisions(connection, caller, selector.run_id),
            await _find_gates(connection, caller.org_id),
            changes,
            await _find_groups(connection, caller.org_id, selector) if has_results else _NO_GROUPS,
            await _find_flaky(connection, caller.org_id, selector) if run["counts"]["flaky"] and has_results else [],
            await _find_slowest(connection, caller.org_id, selector, run) if has_results else [],
            await _find_reports(connection, caller, selector.run_id),
        )


async def find_run(connection: Connection, org_id: OrgId, selector: RunSelector) -> dict[str, Any]:
    """Return the run as an object of the API. Raises NotFound."""
    text = await runs.find_one(connection, org_id, *selector)
    if text is None:
        raise run_not_found(selector.run_id)
    found: dict[str, Any] = orjson.loads(text)
    return found


async def find_reports(pool: Pool, caller: Caller, run_id: str) -> ReceivedReports | None:
    """Return the receipts of a run, which needn't be stored. None if there are none, or the caller can't read them."""
    async with as_organization(pool, caller.org_id) as connection:
        reports = await _find_reports(connection, caller, run_id)
    return reports if reports and reports.items else None


async def add_evidence(connection: Connection, caller: Caller, page: ComparisonPage) -> list[dict[str, Any]]:
    """Return the items of a comparison with their evidence in words: `evidence_text`, or None without evidence."""
    baseline = page.summary["baseline"]
    excuses = await _find_quarantines(connection, caller, {item["quarantine_id"] for item in page.items} - {None})
    return [{**item, "evidence_text": _describe(item, baseline, excuses)} for item in page.items]


def group_items(items: Iterable[dict[str, Any]], counts: Mapping[Change, int | None]) -> list[ChangedResults]:
    """Return the items of a comparison, which are in the order of their changes, by change."""
    groups = groupby(items, lambda item: item["change"])
    return [ChangedResults(change, counts[change], list(group)) for change, group in groups]


def total_results(run: dict[str, Any]) -> int:
    """Return the number of results of a run. Flaky results are passed results."""
    return sum(count for status, count in run["counts"].items() if status != "flaky")


def is_sortable(run: dict[str, Any]) -> bool:
    """Return whether the results of a run can be sorted."""
    return total_results(run) <= ROW_BUDGET


def _describe(item: dict[str, Any], baseline: dict[str, Any] | None, excuses: dict[str, dict[str, Any]]) -> str | None:
    if item["quarantine_id"] in excuses:
        return describe_quarantine(excuses[item["quarantine_id"]])
    if baseline is None or item["evidence"] is None:
        return None
    return describe_evidence(item["evidence"], baseline["branch"])


async def _find_changes(connection: Connection, caller: Caller, selector: RunSelector) -> RunChangesView:
    page = await find_first_changes(connection, caller.org_id, selector, _PER_CHANGE)
    items, counts = await add_evidence(connection, caller, page), page.summary["counts"]
    found = {group.change: group.items for group in group_items(items, counts)}
    listed = [
        ChangedResults(change, counts[change], found.get(change, [])[:_PER_CHANGE])
        for change in LISTED_CHANGES
        if counts[change]
    ]
    return RunChangesView(listed, counts, page.summary["baseline"], page.summary["truncated"])


async def _find_quarantines(connection: Connection, caller: Caller, ids: Iterable[str]) -> dict[str, dict[str, Any]]:
    found = {}
    for quarantine_id in ids:
        text = await quarantines.find_one(connection, QuarantineRef(caller.org_id, quarantine_id, caller.project_id))
        if text is not None:
            found[quarantine_id] = orjson.loads(text)
    return found


async def _find_decisions(connection: Connection, caller: Caller, run_id: str) -> list[dict[str, Any]]:
    """Return the newest decision of each gate, blocked ones first."""
    filter_ = DecisionFilter(run_id=run_id, project_id=caller.project_id)
    page = await decisions.list_page(connection, caller.org_id, filter_, None, _DECISIONS)
    newest: dict[str, dict[str, Any]] = {}
    for decision in orjson.loads(page.data):
        newest.setdefault(decision["gate"], decision)
    return sorted(newest.values(), key=lambda decision: _DECISION_ORDER.index(decision["decision"]))


async def _find_gates(connection: Connection, org_id: OrgId) -> list[str]:
    page = await gates.list_page(connection, org_id, None, _GATES)
    return [gate["name"] for gate in orjson.loads(page.data)]


async def _find_groups(connection: Connection, org_id: OrgId, selector: RunSelector) -> RunFailureGroups:
    ranked = await failures.list_groups(connection, org_id, ResultFilter(**selector._asdict()), _GROUPS + 1)
    found = orjson.loads(ranked.data)
    return RunFailureGroups(found[:_GROUPS], len(found) > _GROUPS, ranked.truncated)


async def _find_flaky(connection: Connection, org_id: OrgId, selector: RunSelector) -> list[dict[str, Any]]:
    return await _list_results(connection, org_id, ResultFilter(**selector._asdict(), flaky=True), _FLAKY)


async def _find_slowest(
    connection: Connection, org_id: OrgId, selector: RunSelector, run: dict[str, Any]
) -> list[dict[str, Any]]:
    """Return the results with the longest durations. None are listed if the run is too large to sort."""
    if not is_sortable(run):
        return []
    filter_ = ResultFilter(**selector._asdict(), sort="-duration_ms")
    found = await _list_results(connection, org_id, filter_, _SLOWEST)
    return [result for result in found if result["duration_ms"]]


async def _list_results(
    connection: Connection, org_id: OrgId, filter_: ResultFilter, limit: int
) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = orjson.loads((await results.list_page(connection, org_id, filter_, None, limit)).data)
    return found


async def _find_reports(connection: Connection, caller: Caller, run_id: str) -> ReceivedReports | None:
    if "reports:create" not in PERMISSIONS[caller.role]:
        return None
    page = await receipts.list_page(connection, caller.org_id, caller.project_id, (run_id, None), None, _RECEIPTS)
    items = [dict(write_receipt(receipt)) for receipt in page.rows]
    return ReceivedReports(items, describe_missing(items), page.next is not None)


async def _describe_incomplete(connection: Connection, org_id: OrgId, run: dict[str, Any], key: RunKey) -> str | None:
    if run["complete"]:
        return None
    if run["expected_shards"] is not None:
        return describe_shards(run["expected_shards"], await runs.find_shards(connection, org_id, key))
    if run["expected_results"] is not None:
        return f"{total_results(run):,} of {run['expected_results']:,} results have arrived."
    return "The last event of the run hasn't arrived."


def describe_shards(expected: int, arrived: Collection[int]) -> str:
    """Return which shards of a run have arrived, and which are missing."""
    missing = expected - len(arrived)
    numbers = (number for number in range(1, expected + 1) if number not in arrived)
    listed = ", ".join(map(str, islice(numbers, _LISTED_SHARDS)))
    more = f", and {missing - _LISTED_SHARDS:,} more" if missing > _LISTED_SHARDS else ""
    return f"{len(arrived):,} of {expected:,} shards have arrived. Missing: {listed}{more}."
