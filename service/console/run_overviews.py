"""The page of a run: its comparison, the state of an incomplete run in words, and its receipts."""

from collections.abc import Collection, Sequence
from itertools import chain, islice
from typing import Final, NamedTuple

from service.console.comparisons import RunChangesView, group_first_results
from service.contracts.comparison import write_missing_part
from service.contracts.gates import Decision
from service.contracts.receipts import Receipt, write_receipt
from service.domain.evidence import describe_expected, find_missing_shards
from service.domain.keys import roles_with
from service.domain.parts import PartIdentity
from service.domain.receipts import describe_missing
from service.domain.rows import PartRow, ResultRow, RunDetailRow, RunRow
from service.domain.untrusted import is_untrusted_id
from service.usecases.lists.run_overview import CHANGED_RESULTS, RunFailureGroups, RunOverview, RunReceipts

_LISTED_PARTS: Final = 50
_READERS: Final = " or ".join(roles_with("reports:create"))
_REJECTED: Final = f"a report was rejected. Users with the role {_READERS} can read why."


class ReceivedReports(NamedTuple):
    """The receipts of a run, newest first, and which rejected reports are missing.

    `receipts` is None if the caller can't read them.
    """

    receipts: Sequence[Receipt] | None
    missing: str | None
    has_more: bool
    is_processing: bool


class ListedPart(NamedTuple):
    """A part of a run, such as a CI job. `attempt` is None if none is stated. A missing part sent no results."""

    part: PartRow
    is_missing: bool


class RunParts(NamedTuple):
    """The parts of a run, the missing ones first. `more` is the number of those that aren't listed."""

    listed: Sequence[ListedPart]
    more: int


class RunPageData(NamedTuple):
    """The data of the page. `expected` states what an incomplete run still expects.

    `state` is the name of a state in which the status isn't the outcome of the complete run, or None. `parts` is None
    if no job, variant, or shard is known, `changes` if the results have expired, and `reports` if there are none.
    """

    run: RunRow
    state: str | None
    expected: str | None
    parts: RunParts | None
    decisions: Sequence[Decision]
    gates: Sequence[str]
    changes: RunChangesView | None
    failure_groups: RunFailureGroups
    flaky: Sequence[ResultRow]
    slowest: Sequence[ResultRow]
    reports: ReceivedReports | None


def run_page(found: RunDetailRow, overview: RunOverview) -> RunPageData:
    """Return the data of the page of a run."""
    run, changes = found.run, overview.changes
    reports = received_reports(overview.receipts)
    missing = changes.summary.missing.parts if changes else ()
    lacks_results = bool(missing) or run.failures_missing or bool(reports and reports.missing)
    return RunPageData(
        run,
        find_state(run, lacks_results=lacks_results, is_processing=bool(reports and reports.is_processing)),
        None if run.complete else _describe_incomplete(run, overview.arrived_shards),
        _list_parts(found, missing, overview.arrived_shards),
        overview.decisions,
        overview.gates,
        group_first_results(changes, overview.excuses, found, CHANGED_RESULTS) if changes else None,
        overview.failure_groups,
        overview.flaky,
        overview.slowest,
        reports,
    )


def find_state(run: RunRow, *, lacks_results: bool, is_processing: bool = False) -> str | None:
    """Return the state of a run whose status isn't that of all of its results, or None."""
    if not run.complete:
        return "incomplete"
    if lacks_results:
        return "results_missing"
    return "reports_processing" if is_processing else None


def _list_parts(
    found: RunDetailRow, missing: Sequence[PartIdentity], arrived_shards: Collection[int]
) -> RunParts | None:
    """Return the parts of a run. A missing shard, which can be of any job, is listed unless a missing part has it."""
    absent = [PartRow(**write_missing_part(part), attempt=None) for part in missing]
    others = [part for part in found.parts if not any(_is_same(part, other) for other in absent)]
    known = {part.shard for part in absent if part.shard}
    expected = None if found.run.complete else found.run.expected_shards
    shards = find_missing_shards(expected, {*arrived_shards, *known}) if expected else []
    numbers = islice(chain.from_iterable(shards), _LISTED_PARTS)
    absent += [PartRow(part=None, variant={}, shard=number, attempt=None) for number in numbers]
    parts = [ListedPart(part, True) for part in absent] + [ListedPart(part, False) for part in others]
    if not any(part.part.part or part.part.variant or part.part.shard for part in parts):
        return None
    total = len(missing) + sum(map(len, shards)) + len(others)
    return RunParts(parts[:_LISTED_PARTS], max(0, total - _LISTED_PARTS))


def _is_same(first: PartRow, second: PartRow) -> bool:
    return first[:3] == second[:3]


def received_reports(found: RunReceipts | None) -> ReceivedReports | None:
    """Return the receipts of a run, or None if there are none."""
    if found is None:
        return None
    if found.listed is None:
        return ReceivedReports(None, _REJECTED if found.is_rejected else None, False, found.is_processing)
    receipts = list(map(write_receipt, found.listed.items))
    has_more = found.listed.next_cursor is not None
    return ReceivedReports(receipts, describe_missing(receipts), has_more, found.is_processing)


def _describe_incomplete(run: RunRow, arrived_shards: Collection[int]) -> str:
    if run.trusted and is_untrusted_id(run.run_id) and run.status == "error":
        return "Reports that its promotion names aren't stored, or further ones are expected."
    expected = describe_expected(run.expected_shards, arrived_shards, run.expected_results, run.counts.total)
    return f"{expected}." if expected else "The last event of the run hasn't arrived."
