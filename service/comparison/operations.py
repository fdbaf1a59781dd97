"""The comparison of a run for a caller: a page of the changes, or the first results of each change."""

from collections.abc import Mapping, Sequence
from typing import Final, NamedTuple

from service.comparison import compare_runs
from service.comparison.compare_runs import Comparison, ListedChanges
from service.comparison.contract import ComparisonQuery
from service.comparison.model import LIST_START, BaselineChoice, Change, ComparedRow, ComparisonSummary, ListPosition
from service.database.database import Pool, as_organization
from service.database.transactions import reading_snapshot
from service.domain.cursors import CursorCodec, Cursors, pack_bigint, unpack_bigint
from service.domain.errors import Conflict, InvalidRequest
from service.domain.ids import CaseKey
from service.domain.statuses import STATUS_CODES
from service.identity.keys.model import Caller
from service.results.rows import ResultRow
from service.runs.operations import select_run
from service.splits.contract import SplitOfRun
from service.splits.model import MAX_ASSIGNMENTS, MAX_SPLITS

_DIGEST_BYTES: Final = 8


class _ComparisonCursor(NamedTuple):
    """A position in the list, and the digest of the runs and quarantines that the list depends on."""

    position: ListPosition
    digest: bytes


def _unpack(data: bytes) -> _ComparisonCursor:
    if len(data) <= 1 + _DIGEST_BYTES:
        raise ValueError(data)
    position = ListPosition(data[0], CaseKey(unpack_bigint(data[1:-_DIGEST_BYTES])))
    return _ComparisonCursor(position, data[-_DIGEST_BYTES:])


_CODEC: Final = CursorCodec[_ComparisonCursor](
    lambda cursor: bytes([cursor.position.order]) + pack_bigint(cursor.position.case_key) + cursor.digest, _unpack
)


class ComparisonPage(NamedTuple):
    """Results with their changes, the summary of the comparison, and the cursor of the next page."""

    items: Sequence[ComparedRow]
    summary: ComparisonSummary
    next_cursor: str | None


async def list_comparison(pool: Pool, caller: Caller, run_id: str, query: ComparisonQuery) -> ComparisonPage:
    """Compare a run with its baseline, and return a page of the changes.

    Raises NotFound, InvalidRequest, and Gone like `compare_run`, and InvalidRequest for a cursor of another list, or if
    the comparison has changed since the previous page.
    """
    selector = select_run(caller, run_id)
    filters = {"run_id": run_id, "baseline": query.baseline, "changes": query.changes}
    cursors = Cursors(_CODEC, "comparison", caller.org_id, filters)
    after = cursors.read(query.starting_after)
    async with as_organization(pool, caller.org_id) as connection, reading_snapshot(connection):
        comparison = await compare_runs.compare_run(connection, caller.org_id, selector, query.choice)
        digest = comparison.digest()[:_DIGEST_BYTES]
        if after is not None and after.digest != digest:
            raise InvalidRequest("starting_after: the comparison has changed, start again", "starting_after")
        listed = ListedChanges(query.changes, after.position if after else LIST_START, query.limit)
        page = await compare_runs.list_changes(connection, caller.org_id, comparison, listed)
    last = _ComparisonCursor(page.rows[-1].compared.position, digest) if page.has_more else None
    return ComparisonPage(page.rows, _summarize(comparison, page.other_counts), cursors.write(last))


async def find_first_changes(pool: Pool, caller: Caller, run_id: str, per_change: int) -> ComparisonPage:
    """Compare a run with its baseline, and return the first results of each change. Raises NotFound and Gone."""
    selector = select_run(caller, run_id)
    async with as_organization(pool, caller.org_id) as connection, reading_snapshot(connection):
        comparison = await compare_runs.compare_run(connection, caller.org_id, selector, BaselineChoice())
        page = await compare_runs.list_first_changes(connection, caller.org_id, comparison, per_change)
    return ComparisonPage(page.rows, _summarize(comparison, page.other_counts), None)


async def find_change(pool: Pool, caller: Caller, result: ResultRow) -> ComparisonPage:
    """Compare one result of a run with the baseline, and return it with its change. Raises NotFound and Gone.

    The summary counts only this result.
    """
    selector, status = select_run(caller, result.run_id), STATUS_CODES[result.status]
    async with as_organization(pool, caller.org_id) as connection, reading_snapshot(connection):
        comparison = await compare_runs.compare_case(connection, caller.org_id, selector, result.case_key, status)
    rows = [ComparedRow(result, compared) for compared in comparison.failures]
    return ComparisonPage(rows, _summarize(comparison, {}), None)


async def list_splits(pool: Pool, caller: Caller, run_id: str) -> list[SplitOfRun]:
    """Return the splits of a run. Raises NotFound and Gone like `compare_run`, and Conflict if there are too many."""
    selector = select_run(caller, run_id)
    async with as_organization(pool, caller.org_id) as connection, reading_snapshot(connection):
        runs = await compare_runs.find_compared(connection, caller.org_id, selector, BaselineChoice())
        splits = await compare_runs.find_splits_of_run(connection, caller.org_id, runs)
    if splits is None:
        raise Conflict(f"run {run_id!r} has too many splits: more than {MAX_SPLITS}, or {MAX_ASSIGNMENTS} assignments")
    return splits


def _summarize(comparison: Comparison, other_counts: Mapping[Change, int | None]) -> ComparisonSummary:
    counts = {**comparison.failing_counts, **other_counts}
    return ComparisonSummary(comparison.run, comparison.baseline, counts, comparison.truncated, comparison.missing)
