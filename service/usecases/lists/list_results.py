"""A page of the list of results."""

from functools import lru_cache
from typing import Final
from uuid import UUID

from service.contracts.queries import PageQuery
from service.domain.cursors import MAX_CACHED, CursorCodec, Cursors, pack_bigint, unpack_bigint
from service.domain.filters import Position, ResultFilter
from service.domain.ids import CaseKey, OrgId, RunKey
from service.store.postgres.database import Pool, as_organization
from service.store.queries import results
from service.usecases.lists.list_runs import ListPage

_CODEC: Final = CursorCodec[Position](
    lambda position: position.run_key.bytes + pack_bigint(position.case_key),
    lambda data: Position(RunKey(UUID(bytes=data[:16])), CaseKey(unpack_bigint(data[16:]))),
)


async def list_results(pool: Pool, org_id: OrgId, filter_: ResultFilter, page: PageQuery) -> ListPage:
    """Return the page of results for this filter and cursor.

    Raises InvalidRequest for a cursor of another list, and for a run that is too large to sort.
    """
    async with as_organization(pool, org_id) as connection:
        revision = await results.check_sortable(connection, org_id, filter_)
        cursors = result_cursors(org_id, filter_, revision)
        after = cursors.read(page.starting_after)
        found = await results.list_page(connection, org_id, filter_, after, page.limit)
    return ListPage(found.data, cursors.write(found.next))


@lru_cache(MAX_CACHED)
def result_cursors(org_id: OrgId, filter_: ResultFilter, revision: int | None = None) -> Cursors[Position]:
    """Return the cursors of a list of results. `revision` is that of the run whose results are sorted, if any."""
    return Cursors(_CODEC, "results", org_id, {**filter_.set_fields(), "revision": revision})
