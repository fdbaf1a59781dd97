"""A page of the list of results, and one result."""

from typing import Final
from uuid import UUID

from service.contracts.queries import PageQuery
from service.domain.cursors import CursorCodec, Cursors, pack_bigint, unpack_bigint
from service.domain.errors import NotFound
from service.domain.filters import Position, ResultFilter, restrict_to_project
from service.domain.ids import CaseKey, OrgId, RunKey, parse_result_id
from service.domain.keys import Caller
from service.domain.rows import ResultDetailRow, ResultRow
from service.store.postgres.database import Pool, as_organization
from service.store.queries import result_details, results
from service.usecases.lists.pages import ListPage

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
    async with as_organization(pool, caller.org_id) as connection:  # a cursor contains the revision of a sorted run
        revision = await results.check_sortable(connection, caller.org_id, filter_)
        cursors = result_cursors(caller.org_id, filter_, revision)
        after = cursors.read(query.starting_after)
        page = await results.list_page(connection, caller.org_id, filter_, after, query.limit)
    return ListPage(page.rows, cursors.write(page.next))


def result_cursors(org_id: OrgId, filter_: ResultFilter, revision: int | None = None) -> Cursors[Position]:
    """Return the cursors of a list of results. `revision` is that of the run whose results are sorted, if any."""
    return Cursors(_CODEC, "results", org_id, {**filter_.set_fields(), "revision": revision})


async def find_result(pool: Pool, caller: Caller, result_id: str) -> ResultDetailRow:
    """Return a result with its run, failure, and attempts. Raises NotFound."""
    key = parse_result_key(result_id)
    async with as_organization(pool, caller.org_id) as connection:
        found = await result_details.find_one(connection, caller.org_id, key, caller.project_id)
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
