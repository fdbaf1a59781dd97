"""The page of a run: its comparison, the state of an incomplete run in words, and its receipts."""

from collections.abc import Collection, Sequence
from itertools import islice
from typing import Final, NamedTuple

from service.console.comparisons import RunChangesView, group_first_results
from service.contracts.gates import Decision
from service.contracts.receipts import Receipt, write_receipt
from service.domain.receipts import describe_missing, is_unfinished
from service.domain.rows import ReceiptDetails, ResultRow, RunRow
from service.usecases.lists.pages import ListPage
from service.usecases.lists.run_overview import CHANGED_RESULTS, RunFailureGroups, RunOverview

_LISTED_SHARDS: Final = 10


class ReceivedReports(NamedTuple):
    """The receipts of a run, newest first, and which rejected reports are missing."""

    receipts: Sequence[Receipt]
    missing: str | None
    has_more: bool

    @property
    def is_processing(self) -> bool:
        """Return whether a report isn't processed yet."""
        return any(map(is_unfinished, self.receipts))


class RunPageData(NamedTuple):
    """The data of the page. `missing` states what an incomplete run still expects.

    `changes` is None if the results have expired, and `reports` if there are none or the caller can't read them.
    """

    run: RunRow
    missing: str | None
    decisions: Sequence[Decision]
    gates: Sequence[str]
    changes: RunChangesView | None
    failure_groups: RunFailureGroups
    flaky: Sequence[ResultRow]
    slowest: Sequence[ResultRow]
    reports: ReceivedReports | None


def run_page(run: RunRow, overview: RunOverview) -> RunPageData:
    """Return the data of the page of a run."""
    changes = overview.changes
    return RunPageData(
        run,
        None if run.complete else _describe_incomplete(run, overview.arrived_shards),
        overview.decisions,
        overview.gates,
        group_first_results(changes, overview.excuses, CHANGED_RESULTS) if changes else None,
        overview.failure_groups,
        overview.flaky,
        overview.slowest,
        received_reports(overview.receipts),
    )


def received_reports(page: ListPage[ReceiptDetails] | None) -> ReceivedReports | None:
    """Return the receipts of a run, or None if there are none."""
    if page is None or not page.items:
        return None
    receipts = list(map(write_receipt, page.items))
    return ReceivedReports(receipts, describe_missing(receipts), page.next_cursor is not None)


def describe_shards(expected: int, arrived: Collection[int]) -> str:
    """Return which shards of a run have arrived, and which are missing."""
    missing = expected - len(arrived)
    numbers = (number for number in range(1, expected + 1) if number not in arrived)
    listed = ", ".join(map(str, islice(numbers, _LISTED_SHARDS)))
    more = f", and {missing - _LISTED_SHARDS:,} more" if missing > _LISTED_SHARDS else ""
    return f"{len(arrived):,} of {expected:,} shards have arrived. Missing: {listed}{more}."


def _describe_incomplete(run: RunRow, arrived_shards: Collection[int]) -> str:
    if run.expected_shards is not None:
        return describe_shards(run.expected_shards, arrived_shards)
    if run.expected_results is not None:
        return f"{run.counts.total:,} of {run.expected_results:,} results have arrived."
    return "The last event of the run hasn't arrived."
