"""Results for a caller: the list, one result, and its failing neighbors."""

from bisect import bisect_left
from typing import Final, NamedTuple
from uuid import UUID

from service.comparison.store import find_failing
from service.contracts.queries import PageQuery
from service.database.database import Pool, as_organization
from service.database.pages import ListPage
from service.domain.cursors import CursorCodec, Cursors, pack_bigint, unpack_bigint
from service.domain.errors import NotFound
from service.domain.filters import Position, ResultFilter, restrict_to_project
from service.domain.ids import CaseKey, OrgId, RunKey, parse_result_id, result_id
from service.identity.keys.model import Caller
from service.results import queries
from service.results.rows import ResultDetailRow, ResultRow

_CODEC: Final = CursorCodec[Position](
    lambda position: position.run_key.bytes + pack_bigint(position.case_key),
    lambda data: Position(RunKey(UUID(bytes=data[:16])), CaseKey(unpack_bigint(data[16:]))),
)


async def list_results(pool: Pool, caller: Caller, requested: ResultFilter, query: PageQuery) -> ListPage[ResultRow]:
    """Return results for this filter, newest run first, or in the order that the filter states.

    Raises InvalidRequest for a cursor of another list, and for a run that is too large to sort.
    """
    filter_ = restrict_to_project(requested, caller.project_id)
    if filter_ is None:
        return ListPage((), None)
    async with as_organization(pool, caller.org_id) as connection:
        # Before the cursor is read: the cursor of a sorted list is valid only for this revision of the run.
        revision = await queries.check_sortable(connection, caller.org_id, filter_)
        cursors = result_cursors(caller.org_id, filter_, revision)
        after = cursors.read(query.starting_after)
        page = await queries.list_page(connection, caller.org_id, filter_, after, query.limit)
    return ListPage(page.rows, cursors.write(page.next))


def result_cursors(org_id: OrgId, filter_: ResultFilter, revision: int | None = None) -> Cursors[Position]:
    """Return the cursors of a list of results. `revision` is the revision of the run whose results are sorted."""
    return Cursors(_CODEC, "results", org_id, {**filter_.set_fields(), "revision": revision})


async def find_result(pool: Pool, caller: Caller, result_id: str) -> ResultDetailRow:
    """Return a result with its run, failure, and attempts. Raises NotFound."""
    key = parse_result_key(result_id)
    async with as_organization(pool, caller.org_id) as connection:
        found = await queries.find_one(connection, caller.org_id, key, caller.project_id)
    if found is None:
        raise result_not_found(result_id)
    return found


def parse_result_key(result_id: str) -> tuple[RunKey, CaseKey]:
    """Return the key of a result. Raises NotFound if the ID is malformed."""
    key = parse_result_id(result_id)
    if key is None:
        raise result_not_found(result_id)
    return key


def result_not_found(result_id: str) -> NotFound:
    """Return the same error for an ID that is malformed, unknown, or of another organization."""
    return NotFound(f"result {result_id[:100]!r} not found")


class FailingNeighbors(NamedTuple):
    """The IDs of the previous and the next failing result, or None. `position` starts at 1."""

    previous: str | None
    next: str | None
    position: int
    total: int


async def find_neighbors(pool: Pool, caller: Caller, result: ResultRow) -> FailingNeighbors | None:
    """Return the neighbors of a result that the caller can see, or None if it isn't failing."""
    run_key = result.run.run_key
    async with as_organization(pool, caller.org_id) as connection:
        cases = await find_failing(connection, caller.org_id, run_key)
    index = bisect_left(cases, result.case_key)
    if index == len(cases) or cases[index] != result.case_key:
        return None
    ids = [result_id(run_key, case) for case in cases[max(0, index - 1) : index + 2]]
    previous = ids[0] if index > 0 else None
    following = ids[-1] if index + 1 < len(cases) else None
    return FailingNeighbors(previous, following, index + 1, len(cases))
