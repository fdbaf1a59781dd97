"""The comparison of a run with its baseline and window. Nothing is stored, so late shards and corrections count."""

import asyncio
from bisect import bisect_right
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, replace
from hashlib import sha256
from itertools import chain, groupby, islice
from typing import Final, NamedTuple

from service.comparison import store
from service.comparison.model import (
    FAILING_CHANGES,
    LIST_START,
    LISTED_CHANGES,
    MAX_COMPARED_RESULTS,
    MAX_LISTED_CASES,
    MAX_SEARCHED_CASES,
    NOTHING_MISSING,
    ORDER,
    OTHER_CHANGES,
    RULES_VERSION,
    BaselineChoice,
    Change,
    ComparedResult,
    ComparedRow,
    ComparedRun,
    ComparisonWindow,
    ListPosition,
    MissingResults,
    StatusPair,
    classify_other,
    count_failing,
    find_absent,
    other_pairs,
)
from service.comparison.store import ComparedKeys, PairPage, RemovedCases, RunToCompare
from service.database.database import Connection
from service.domain.errors import Gone, InvalidRequest, NotFound
from service.domain.ids import CaseKey, OrgId
from service.evidence.model import (
    NOT_EXECUTED,
    Evidence,
    EvidenceRuns,
    FailureChange,
    History,
    find_outcome,
    judge_failure,
)
from service.quarantines import store as quarantines_store
from service.quarantines.find_excused import ExcuseSearch
from service.results import queries as results_queries
from service.results.model import FAILING_CODES
from service.runs.model import PartIdentity
from service.runs.store import RunSelector
from service.splits.contract import SplitOfRun
from service.splits.find_missing import find_splits

_NO_RESULT: Final = ("", False)  # status code, and whether the result is flaky
_CASES_PER_STEP: Final = 16  # after these, other tasks run: a case that fails in every other run takes up to 0.7 ms


class ComparedRuns(NamedTuple):
    """A run, and the runs to compare it with."""

    run: ComparedRun
    window: ComparisonWindow


@dataclass(frozen=True, slots=True)
class Comparison:
    """The failing results of a run with their changes, in the order of the list, and what the run lacks.

    If `truncated` is true, only the first failing cases were searched in the complete window.
    """

    runs: ComparedRuns
    failures: Sequence[ComparedResult]
    truncated: bool = False
    missing: MissingResults = NOTHING_MISSING

    @property
    def run(self) -> ComparedRun:
        """The run that is compared."""
        return self.runs.run

    @property
    def baseline(self) -> ComparedRun | None:
        """The run of the window with which all results are compared."""
        return self.runs.window.baseline

    @property
    def failing_counts(self) -> dict[Change, int]:
        """The number of failing results by change."""
        return count_failing(self.failures, self.run.counts.failed + self.run.counts.error)

    def digest(self) -> bytes:
        """Return the SHA-256 of the runs with their revisions, and of the quarantines that excuse a failure.

        `created_at` distinguishes a run from a deleted one with the same key.
        """
        runs = (self.run, *self.runs.window.runs)
        lines = [f"{run.run_key} {run.revision} {run.created_at.isoformat()}" for run in runs]
        lines.append(f"baseline {self.baseline and self.baseline.run_key}, rules {RULES_VERSION}")
        lines += [f"{failure.case_key} {failure.quarantine_id}" for failure in self.failures if failure.quarantine_id]
        return sha256("\n".join(lines).encode()).digest()


class ListedChanges(NamedTuple):
    """The part of a comparison to list: results with these changes, after a position."""

    changes: Collection[Change]
    after: ListPosition
    limit: int


class ChangePage(NamedTuple):
    """The counts of the results that aren't failing, None if a run is too large, and a page of the list.

    A page has fewer than `limit` rows if it is large.
    """

    other_counts: Mapping[Change, int | None]
    rows: Sequence[ComparedRow]
    has_more: bool


async def compare_run(
    connection: Connection, org_id: OrgId, selector: RunSelector, choice: BaselineChoice
) -> Comparison:
    """Compare the failing results of a run. All statements must read one snapshot.

    Raises NotFound for an unknown run or baseline, InvalidRequest for a baseline that the run can't be compared with,
    Gone if the results of the run have expired, and Unavailable if the globs of the quarantines take too long.
    """
    runs = await find_compared(connection, org_id, selector, choice)
    failing = await store.find_failing(connection, org_id, runs.run.run_key)
    failures = await _compare_failing(connection, org_id, runs, failing)
    missing = await _find_missing(connection, org_id, runs)
    return Comparison(runs, failures, len(failing) > MAX_SEARCHED_CASES, missing)


async def compare_case(
    connection: Connection, org_id: OrgId, selector: RunSelector, case: CaseKey, status: str
) -> Comparison:
    """Compare one result of a run, also if it isn't failing, but not what the run lacks. `status` is its status code.

    All statements must read one snapshot. Raises NotFound and Gone like `compare_run`.
    """
    runs = await find_compared(connection, org_id, selector, BaselineChoice())
    if status in FAILING_CODES:
        return Comparison(runs, await _compare_failing(connection, org_id, runs, [case]))
    baseline_status = None
    if baseline := runs.window.baseline:
        past = await store.find_history(connection, org_id, [baseline.run_key], [case])
        baseline_status, _ = past.get(baseline.run_key, {}).get(case, (None, False))
    result = ComparedResult(case, classify_other(StatusPair(status, baseline_status)), baseline_status)
    return Comparison(runs, [result])


async def find_compared(
    connection: Connection, org_id: OrgId, selector: RunSelector, choice: BaselineChoice
) -> ComparedRuns:
    """Return the run, whose results must not have expired, and the runs to compare with."""
    found = await store.find_run(connection, org_id, selector)
    if found is None:
        raise NotFound(f"run {selector.run_id[:100]!r} not found")
    if found.run.results_expired:
        raise Gone(f"the results of run {found.run.run_id!r} have expired")
    window = await _find_window(connection, org_id, found, choice, selector.project_id)
    return ComparedRuns(found.run, ComparisonWindow.divide(window))


async def _find_window(
    connection: Connection, org_id: OrgId, found: RunToCompare, choice: BaselineChoice, project_id: str | None
) -> Sequence[ComparedRun]:
    """Return the runs to compare with, newest first. If the choice is a run, it is the complete window."""
    run = found.run
    if choice.kind == "run":
        return [await _find_chosen(connection, org_id, run, RunSelector(choice.name, project_id))]
    branch = choice.name or found.baseline_branch
    window = await store.find_window(connection, org_id, run, branch)
    if window or choice.kind == "window" or await store.has_branch(connection, org_id, run, branch):
        return window
    raise NotFound(f"baseline: project {run.project_id!r} has no run on branch {branch[:100]!r}")


async def _find_chosen(connection: Connection, org_id: OrgId, run: ComparedRun, selector: RunSelector) -> ComparedRun:
    found = await store.find_run(connection, org_id, selector)
    if found is None:
        raise NotFound(f"baseline: run {selector.run_id[:100]!r} not found")
    baseline, name = found.run, repr(found.run.run_id)
    if baseline.run_key == run.run_key:
        raise InvalidRequest("baseline: a run can't be compared with itself", "baseline")
    if baseline.project_id != run.project_id:
        raise InvalidRequest(f"baseline: run {name} isn't in the project of run {run.run_id!r}", "baseline")
    if not baseline.trusted:
        raise InvalidRequest(f"baseline: run {name} isn't trusted; promote it first", "baseline")
    if not baseline.complete:
        raise InvalidRequest(f"baseline: run {name} isn't complete", "baseline")
    if baseline.results_expired:
        raise InvalidRequest(f"baseline: the results of run {name} have expired", "baseline")
    return baseline


async def _compare_failing(
    connection: Connection, org_id: OrgId, runs: ComparedRuns, failing: Sequence[CaseKey]
) -> list[ComparedResult]:
    """Return the failing results with their changes, in the order of the list. `failing` is sorted.

    The cases of the first batch are searched in the complete window, and others are compared with the baseline only.
    """
    search = ExcuseSearch(await quarantines_store.active_quarantines(connection, org_id, runs.run.project_id))
    by_change: dict[Change, list[ComparedResult]] = {change: [] for change in FAILING_CHANGES}
    for start in range(0, len(failing), MAX_SEARCHED_CASES):
        batch, is_searched = failing[start : start + MAX_SEARCHED_CASES], start == 0
        excused = await _find_excused(connection, org_id, search, batch)
        past = await find_past(connection, org_id, runs, batch, is_searched=is_searched)
        for position, case in enumerate(batch):
            result = past.compare(case, excused.get(case))
            by_change[result.change].append(result)
            if position % _CASES_PER_STEP == 0:
                await asyncio.sleep(0)
    return list(chain.from_iterable(by_change.values()))


async def _find_excused(
    connection: Connection, org_id: OrgId, search: ExcuseSearch, failing: Sequence[CaseKey]
) -> dict[CaseKey, str]:
    """Return the quarantine of each failing case that an active quarantine of the project matches."""
    if search.is_empty:
        return {}
    return await search.find(await store.find_texts(connection, org_id, failing))


@dataclass(frozen=True, slots=True)
class PastResults:
    """The results of failing cases in the window, or, if `is_searched` is false, in the baseline only.

    `retried` are the cases with several attempts in the compared run, which don't matter for one past result. `outages`
    are the runs that aren't evidence.
    """

    histories: Mapping[CaseKey, History]
    baseline_statuses: Mapping[CaseKey, str]
    retried: frozenset[CaseKey]
    outages: int
    is_searched: bool

    def judge(self, case: CaseKey) -> tuple[FailureChange, Evidence]:
        """Return the change of a failing result without quarantines, and its evidence."""
        return judge_failure(self.histories[case], was_retried=case in self.retried)

    def compare(self, case: CaseKey, quarantine_id: str | None) -> ComparedResult:
        """Return the change of a failing result. A quarantine excuses it, also without evidence."""
        change, evidence = self.judge(case)
        return ComparedResult(
            case,
            "quarantined" if quarantine_id else change,
            self.baseline_statuses.get(case),
            quarantine_id,
            evidence._replace(outages=self.outages) if self.is_searched else None,
        )


async def find_past(
    connection: Connection, org_id: OrgId, runs: ComparedRuns, cases: Sequence[CaseKey], *, is_searched: bool
) -> PastResults:
    """Return the results of failing cases in the complete window, or, unless `is_searched`, in the baseline."""
    window, baseline = runs.window, runs.window.baseline
    searched = window.evidence if is_searched else _only(baseline)
    by_run = await store.find_history(connection, org_id, [run.run_key for run in searched], cases)
    outcomes: dict[CaseKey, list[str]] = {case: [] for case in cases}
    for run in searched:
        results = by_run.get(run.run_key, {})
        for case, letters in outcomes.items():
            status, flaky = results.get(case, _NO_RESULT)
            letters.append(find_outcome(status, flaky=flaky) or NOT_EXECUTED)
        await asyncio.sleep(0)  # a large run has 1,000 searched cases
    evidence_runs = EvidenceRuns([run.as_evidence for run in searched])
    in_baseline = by_run.get(baseline.run_key, {}) if baseline else {}
    return PastResults(
        {case: History("".join(letters), evidence_runs) for case, letters in outcomes.items()},
        {case: status for case, (status, _) in in_baseline.items()},
        await store.find_retried(connection, org_id, runs.run.run_key, cases) if is_searched else frozenset(),
        len(window.runs) - len(window.evidence),
        is_searched,
    )


async def find_splits_of_run(connection: Connection, org_id: OrgId, runs: ComparedRuns) -> list[SplitOfRun] | None:
    """Return the splits of a run with the items that no job executed, or None if there are too many."""
    run, baseline = runs.run, runs.window.baseline
    baseline_key = baseline.run_key if baseline else None
    return await find_splits(connection, org_id, run.project_id, (run.run_key, run.run_id), baseline_key)


async def _find_missing(connection: Connection, org_id: OrgId, runs: ComparedRuns) -> MissingResults:
    """Return what a run lacks. All statements must read one snapshot.

    A part is missing if the run should contain it, none of its uploads has results or states that none are expected,
    and a case that it executed in the baseline has no result. The last condition isn't checked, and no cases are
    counted, if a run is too large.
    """
    run, window = runs
    baseline, splits = window.baseline, await find_splits_of_run(connection, org_id, runs)
    if baseline is None:
        return replace(NOTHING_MISSING, splits=splits)
    keys = ComparedKeys(org_id, run.run_key, baseline.run_key)
    parts = await store.find_parts(connection, keys, [each.run_key for each in window.recent])
    absent = find_absent(parts, len(window.recent), sent_at_once=run.sent_at_once)
    if max(run.counts.total, baseline.counts.total) > MAX_COMPARED_RESULTS:
        return MissingResults(sorted(absent), None, splits=splits)
    removed = await store.find_removed(connection, keys)
    numbers = {number: part.identity for part in parts for number in part.numbers}
    lacking = absent & {numbers[number] for each in removed for number in each.numbers if number in numbers}
    of_present = [each for each in removed if not _are_missing(each, numbers, lacking)]
    first = sorted(case for each in of_present for case in each.first)[:MAX_LISTED_CASES]
    texts = await store.find_texts(connection, org_id, first) if first else []
    return MissingResults(sorted(lacking), sum(each.cases for each in of_present), texts, splits)


def _are_missing(removed: RemovedCases, numbers: dict[int, PartIdentity], lacking: set[PartIdentity]) -> bool:
    """Return whether only missing parts executed the cases."""
    return all(numbers.get(number) in lacking for number in removed.numbers)


async def list_changes(
    connection: Connection, org_id: OrgId, comparison: Comparison, listed: ListedChanges
) -> ChangePage:
    """Return a page of the list. All statements must read the snapshot of the comparison."""
    failures = comparison.failures
    after = islice(failures, bisect_right(failures, listed.after, key=lambda failure: failure.position), None)
    failing = (failure for failure in after if failure.change in listed.changes)
    return await _list_page(connection, org_id, comparison, listed, list(islice(failing, listed.limit + 1)))


async def list_first_changes(
    connection: Connection, org_id: OrgId, comparison: Comparison, per_change: int
) -> ChangePage:
    """Return the first failing results of each change, and then the first ones that are fixed, added, or removed.

    All statements must read the snapshot of the comparison.
    """
    groups = groupby(comparison.failures, lambda failure: failure.change)
    failing = [failure for _, group in groups for failure in islice(group, per_change)]
    others = [change for change in OTHER_CHANGES if change in LISTED_CHANGES]
    listed = ListedChanges(others, LIST_START, len(failing) + per_change * len(others))
    return await _list_page(connection, org_id, comparison, listed, failing)


async def _list_page(
    connection: Connection,
    org_id: OrgId,
    comparison: Comparison,
    listed: ListedChanges,
    failing: Sequence[ComparedResult],
) -> ChangePage:
    """Return a page with these failing results, followed by results that aren't failing."""
    results = list(failing)
    counts: Mapping[Change, int | None] = dict.fromkeys(OTHER_CHANGES)
    if not _is_too_large(comparison):
        counts, others = await _merge(connection, org_id, comparison, listed, listed.limit + 1 - len(results))
        results += others
    keys = [(_run_of(comparison, result).run_key, result.case_key) for result in results[: listed.limit]]
    rows = await results_queries.find_by_keys(connection, org_id, keys)
    listed_rows = list(map(ComparedRow, rows, results))
    return ChangePage(counts, listed_rows, has_more=len(results) > len(rows))


async def _merge(
    connection: Connection, org_id: OrgId, comparison: Comparison, listed: ListedChanges, limit: int
) -> tuple[dict[Change, int], list[ComparedResult]]:
    """Return the counts of the results that aren't failing, and the listed ones among them."""
    pairs = other_pairs()
    ranks = {pair: ORDER[change] for pair, change in pairs.items() if change in listed.changes}
    baseline_key = comparison.baseline.run_key if comparison.baseline else None
    merged = await store.merge_results(
        connection, org_id, (comparison.run.run_key, baseline_key), PairPage(ranks, listed.after, limit)
    )
    counts = dict.fromkeys(OTHER_CHANGES, 0)
    for pair, count in merged.counts.items():
        if pair in pairs:
            counts[pairs[pair]] += count
    return counts, [ComparedResult(case, pairs[pair], pair.baseline_status) for case, pair in merged.page]


def _run_of(comparison: Comparison, result: ComparedResult) -> ComparedRun:
    """Return the run that contains the result."""
    return comparison.baseline if comparison.baseline and result.change == "removed" else comparison.run


def _is_too_large(comparison: Comparison) -> bool:
    runs = (comparison.run, *_only(comparison.baseline))
    return any(run.counts.total > MAX_COMPARED_RESULTS for run in runs)


def _only(run: ComparedRun | None) -> Sequence[ComparedRun]:
    return () if run is None else (run,)
