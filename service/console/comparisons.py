"""Results with their changes: the evidence of each in words, and the groups of a comparison."""

from collections.abc import Iterable, Mapping
from itertools import groupby
from typing import NamedTuple

from service.contracts.responses import Quarantine
from service.domain import evidence
from service.domain.comparison import LISTED_CHANGES, Change, ComparedRow, ComparedRun
from service.domain.rows import ResultRow
from service.domain.statuses import STATUS_NAMES, ResultStatus
from service.usecases.lists.list_comparison import ComparisonPage


class ExplainedResult(NamedTuple):
    """A result with its change. `evidence` is in words, or None without evidence."""

    result: ResultRow
    change: Change
    baseline_status: ResultStatus | None
    quarantine_id: str | None
    evidence: str | None


class ChangedResults(NamedTuple):
    """The results with one change. `total` counts those that aren't listed, too; None if they aren't counted."""

    change: Change
    total: int | None
    results: list[ExplainedResult]


class RunChangesView(NamedTuple):
    """The comparison of a run: the groups that have results, the counts of all changes, and the baseline."""

    groups: list[ChangedResults]
    counts: Mapping[Change, int | None]
    baseline: ComparedRun | None
    truncated: bool


def explain_results(page: ComparisonPage, excuses: Mapping[str, Quarantine]) -> list[ExplainedResult]:
    """Return the results of a comparison. `excuses` are the quarantines that it refers to, by their IDs."""
    return [_explain(row, page.summary.baseline, excuses) for row in page.items]


def group_results(results: Iterable[ExplainedResult], counts: Mapping[Change, int | None]) -> list[ChangedResults]:
    """Return results, which are in the order of their changes, by change."""
    groups = groupby(results, lambda explained: explained.change)
    return [ChangedResults(change, counts[change], list(group)) for change, group in groups]


def group_first_results(page: ComparisonPage, excuses: Mapping[str, Quarantine], per_change: int) -> RunChangesView:
    """Return a comparison with at most some results of each change, and with every change that has results."""
    counts = page.summary.counts
    found = {group.change: group.results for group in group_results(explain_results(page, excuses), counts)}
    listed = [
        ChangedResults(change, counts[change], found.get(change, [])[:per_change])
        for change in LISTED_CHANGES
        if counts[change]
    ]
    return RunChangesView(listed, counts, page.summary.baseline, page.summary.truncated)


def describe_baseline(baseline: ComparedRun | None) -> str:
    """Return which run a run was compared with. None means that there is no such run."""
    if baseline is None:
        return evidence.describe_baseline(None)
    return evidence.describe_baseline(
        {"run_id": baseline.run_id, "branch": baseline.branch, "commit_sha": baseline.commit_sha}
    )


def _explain(row: ComparedRow, baseline: ComparedRun | None, excuses: Mapping[str, Quarantine]) -> ExplainedResult:
    compared = row.compared
    return ExplainedResult(
        row.result,
        compared.change,
        STATUS_NAMES[compared.baseline_status] if compared.baseline_status else None,
        compared.quarantine_id,
        _describe(row, baseline, excuses),
    )


def _describe(row: ComparedRow, baseline: ComparedRun | None, excuses: Mapping[str, Quarantine]) -> str | None:
    quarantine = excuses.get(row.compared.quarantine_id or "")
    if quarantine is not None:
        return evidence.describe_quarantine(quarantine)
    if baseline is None or row.compared.evidence is None:
        return None
    return evidence.describe_evidence(row.compared.evidence._asdict(), baseline.branch)
