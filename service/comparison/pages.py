"""Comparisons on pages: results with their changes and evidence in words, grouped by change, cause, and case."""

from collections.abc import Iterable, Mapping, Sequence
from itertools import groupby
from typing import Final, NamedTuple

from service.comparison import model
from service.comparison.contract import write_missing_part
from service.comparison.model import (
    FAILING_CHANGES,
    LISTED_CHANGES,
    Change,
    ComparedRow,
    ComparedRun,
    ComparisonSummary,
)
from service.comparison.operations import ComparisonPage
from service.console.labels import CHANGE_LABELS, CHANGE_TITLES, NOT_COMPARED, NOT_YET_RECEIVED, ValueLabel
from service.domain.statuses import STATUS_NAMES, ResultStatus
from service.evidence.model import describe_evidence
from service.quarantines.contract import Quarantine
from service.results.rows import ResultRow
from service.runs.model import PartRow, RunDetailRow

_OF_BASELINE: Final = ("fixed", "removed")  # the status in the baseline explains these changes


class ExplainedResult(NamedTuple):
    """A result with its change, its evidence in words, and the quarantine that excuses it with its ticket, if any."""

    result: ResultRow
    change: Change
    baseline_status: ResultStatus | None
    quarantine_id: str | None
    ticket_url: str | None
    evidence: str | None


class CaseResults(NamedTuple):
    """The results of one test, one for each of its variants."""

    suite: str
    name: str
    results: Sequence[ResultRow]

    @property
    def has_error(self) -> bool:
        """Whether a result is an error, which isn't a failed assertion."""
        return any(result.status == "error" for result in self.results)


class ResultCluster(NamedTuple):
    """Tests that changed in the same way: with the same failure and the same evidence."""

    cases: Sequence[CaseResults]
    failure_summary: str | None
    evidence: str | None
    quarantine_id: str | None
    ticket_url: str | None


class ChangedResults(NamedTuple):
    """The results with one change. `total` also counts the results that aren't listed, or is None."""

    change: Change
    title: ValueLabel
    total: int | None
    clusters: Sequence[ResultCluster]
    listed: int


class RunChangesView(NamedTuple):
    """The comparison of a run: the groups that have results, and the runs that were compared.

    `figures` has every change with its number. `missing` states which parts sent no results, or is None.
    """

    groups: Sequence[ChangedResults]
    figures: Sequence[ChangedResults]
    baseline: ComparedRun | None
    is_counted: bool
    truncated: bool
    missing: str | None


def explain_results(page: ComparisonPage, excuses: Mapping[str, Quarantine]) -> list[ExplainedResult]:
    """Return the results of a comparison. `excuses` are the quarantines that it refers to, by their IDs."""
    return [_explain(row, page.summary.baseline, excuses) for row in page.items]


def _explain(row: ComparedRow, baseline: ComparedRun | None, excuses: Mapping[str, Quarantine]) -> ExplainedResult:
    compared = row.compared
    quarantine = excuses.get(compared.quarantine_id or "")
    return ExplainedResult(
        row.result,
        compared.change,
        STATUS_NAMES[compared.baseline_status] if compared.baseline_status else None,
        compared.quarantine_id,
        quarantine and quarantine["ticket_url"],
        _describe(row, baseline, quarantine),
    )


def _describe(row: ComparedRow, baseline: ComparedRun | None, quarantine: Quarantine | None) -> str | None:
    if quarantine is not None:
        return model.describe_quarantine({**quarantine, "ticket_url": None})  # the page has a link
    if baseline is None or row.compared.evidence is None:
        return None
    return describe_evidence(row.compared.evidence._asdict(), baseline.branch)


def group_first_results(
    page: ComparisonPage, excuses: Mapping[str, Quarantine], run: RunDetailRow, per_change: int
) -> RunChangesView:
    """Return a comparison with at most some results of each change, and with every change that has results.

    If parts are missing from a complete run, the removed results are the first group. Without a baseline, no result was
    added.
    """
    summary = page.summary
    found: dict[Change, list[ExplainedResult]] = {}
    for explained in explain_results(page, excuses):
        found.setdefault(explained.change, []).append(explained)
    shown = [change for change in LISTED_CHANGES if summary.baseline or change in FAILING_CHANGES]
    listed = [change for change in shown if summary.counts[change]]
    is_complete = run.run.complete
    if summary.missing.parts and is_complete:
        listed.sort(key=lambda change: change != "removed")
    return RunChangesView(
        [_group(change, found.get(change, [])[:per_change], summary, is_complete) for change in listed],
        [
            _group(change, [], summary, is_complete)
            for change in shown
            if summary.counts[change] or change == "new_failure"
        ],
        summary.baseline,
        summary.counts["fixed"] is not None,
        summary.truncated,
        describe_missing_parts(summary, run.parts),
    )


def describe_missing_parts(summary: ComparisonSummary, present: Sequence[PartRow]) -> str | None:
    """Return which parts of a run sent no results, or None. `present` are the parts that sent results."""
    missing = list(map(write_missing_part, summary.missing.parts))
    return model.describe_missing_parts(missing, [part._asdict() for part in present])


def group_results(
    results: Iterable[ExplainedResult], summary: ComparisonSummary, *, is_complete: bool
) -> list[ChangedResults]:
    """Return results of a run, which are in the order of their changes, by change."""
    groups = groupby(results, lambda explained: explained.change)
    return [_group(change, list(group), summary, is_complete) for change, group in groups]


def _group(
    change: Change, results: Sequence[ExplainedResult], summary: ComparisonSummary, is_complete: bool
) -> ChangedResults:
    title = _find_title(change, summary.baseline, is_complete=is_complete)
    return ChangedResults(change, title, summary.counts[change], _cluster_results(results), len(results))


def _find_title(change: Change, baseline: ComparedRun | None, *, is_complete: bool) -> ValueLabel:
    """Return the title of several results of a run with a change. Without a baseline, no failure is new."""
    if baseline is None and change == "new_failure":
        return NOT_COMPARED
    if change == "removed" and not is_complete:
        return NOT_YET_RECEIVED
    return CHANGE_LABELS[change]._replace(text=CHANGE_TITLES[change])


def _cluster_results(results: Iterable[ExplainedResult]) -> list[ResultCluster]:
    """Return results by failure and evidence. For example, ten tests with one cause are one item with ten names."""
    clusters: dict[tuple[str | None, ...], list[ResultRow]] = {}
    for explained in results:
        summary = explained.result.failure_summary if explained.change in FAILING_CHANGES else None
        key = summary, _explanation(explained), explained.quarantine_id, explained.ticket_url
        clusters.setdefault(key, []).append(explained.result)
    return [ResultCluster(_by_case(rows), *key) for key, rows in clusters.items()]


def _explanation(explained: ExplainedResult) -> str | None:
    if explained.change in _OF_BASELINE and explained.baseline_status:
        return f"{explained.baseline_status} in the baseline"
    return explained.evidence


def _by_case(results: Iterable[ResultRow]) -> list[CaseResults]:
    cases: dict[tuple[str, str], list[ResultRow]] = {}
    for result in results:
        cases.setdefault((result.suite, result.name), []).append(result)
    return [
        CaseResults(*names, sorted(rows, key=lambda row: sorted(row.variant.items())))
        for names, rows in sorted(cases.items())
    ]
