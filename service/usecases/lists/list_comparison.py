"""The comparison of a run as objects of the API: a page of the changes, or the first results of each change."""

from typing import Any, Final, NamedTuple

from service.contracts.comparison import ComparisonQuery
from service.contracts.results import write_result
from service.domain.comparison import LIST_START, BaselineChoice, ComparedResult, ListPosition
from service.domain.cursors import CursorCodec, Cursors, pack_bigint, unpack_bigint
from service.domain.errors import InvalidRequest, NotFound
from service.domain.ids import CaseKey, OrgId, parse_case_id
from service.domain.keys import Caller
from service.domain.statuses import STATUS_CODES, STATUS_NAMES
from service.domain.timestamps import format_time
from service.store.postgres.database import Connection, Pool, as_organization
from service.store.postgres.transactions import reading_snapshot
from service.store.queries.runs import RunSelector
from service.usecases.gates import compare_runs
from service.usecases.gates.compare_runs import ChangePage, Comparison, ListedChanges
from service.usecases.lists.find_run import select_run

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
    """The results with their changes, the other fields of the comparison, and the cursor of the next page."""

    items: list[dict[str, Any]]
    summary: dict[str, Any]
    next_cursor: str | None


async def list_comparison(pool: Pool, caller: Caller, run_id: str, query: ComparisonQuery) -> ComparisonPage:
    """Compare a run with its baseline, and return a page of the changes.

    Raises NotFound, InvalidRequest, and Gone like `compare_run`, and InvalidRequest for a cursor of another list, or if
    the comparison has changed since the previous page.
    """
    org_id, selector = caller.org_id, select_run(caller, run_id)
    filters = {"run_id": run_id, "baseline": query.baseline, "changes": query.changes}
    cursors = Cursors(_CODEC, "comparison", org_id, filters)
    after = cursors.read(query.starting_after)
    async with as_organization(pool, org_id) as connection, reading_snapshot(connection):
        comparison = await compare_runs.compare_run(connection, org_id, selector, query.choice)
        digest = comparison.digest()[:_DIGEST_BYTES]
        if after is not None and after.digest != digest:
            raise InvalidRequest("starting_after: the comparison has changed, start again", "starting_after")
        listed = ListedChanges(query.changes, after.position if after else LIST_START, query.limit)
        page = await compare_runs.list_changes(connection, org_id, comparison, listed)
    last = _ComparisonCursor(page.results[-1].position, digest) if page.has_more else None
    return ComparisonPage(_items(page), _summarize(comparison, page), cursors.write(last))


async def find_first_changes(
    connection: Connection, org_id: OrgId, selector: RunSelector, per_change: int
) -> ComparisonPage:
    """Compare a run with its baseline, and return the first results of each change. Raises NotFound and Gone.

    All statements must read one snapshot.
    """
    comparison = await compare_runs.compare_run(connection, org_id, selector, BaselineChoice())
    page = await compare_runs.list_first_changes(connection, org_id, comparison, per_change)
    return ComparisonPage(_items(page), _summarize(comparison, page), None)


async def find_change(
    connection: Connection, org_id: OrgId, selector: RunSelector, result: dict[str, Any]
) -> ComparisonPage:
    """Compare one result of a run with the baseline, and return it with its change. Raises NotFound and Gone.

    All statements must read one snapshot.
    """
    case, status = parse_case_id(result["case"]), STATUS_CODES[result["status"]]
    if case is None:
        raise NotFound(f"case {result['case']!r} not found")
    comparison = await compare_runs.compare_case(connection, org_id, selector, case, status)
    items = [{**result, **_change(compared)} for compared in comparison.failures]
    return ComparisonPage(items, _summarize_runs(comparison), None)


def _summarize(comparison: Comparison, page: ChangePage) -> dict[str, Any]:
    return {
        **_summarize_runs(comparison),
        "counts": {**comparison.failing_counts, **page.other_counts},
        "truncated": comparison.truncated,
        **comparison.missing.to_json(),
    }


def _summarize_runs(comparison: Comparison) -> dict[str, Any]:
    run, baseline = comparison.run, comparison.baseline
    return {
        "run_id": run.run_id,
        "revision": run.revision,
        "baseline": baseline and {
            "run_id": baseline.run_id,
            "branch": baseline.branch,
            "commit_sha": baseline.commit_sha,
            "completed_at": format_time(baseline.completed_at),
            "revision": baseline.revision,
        },
    }  # fmt: skip


def _items(page: ChangePage) -> list[dict[str, Any]]:
    pairs = zip(page.rows, page.results, strict=True)
    return [{**write_result(row), **_change(result)} for row, result in pairs]


def _change(result: ComparedResult) -> dict[str, Any]:
    return {
        "change": result.change,
        "baseline_status": result.baseline_status and STATUS_NAMES[result.baseline_status],
        "quarantine_id": result.quarantine_id,
        "evidence": result.evidence and result.evidence._asdict(),
    }
