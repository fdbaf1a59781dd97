"""A page of the list of runs."""

from functools import lru_cache
from typing import Final, NamedTuple
from uuid import UUID

from service.contracts.queries import RunQuery
from service.domain.cursors import MAX_CACHED, CursorCodec, Cursors
from service.domain.filters import RunFilter, restrict_to_project
from service.domain.ids import OrgId, RunKey
from service.domain.keys import Caller
from service.store.postgres.database import Pool, as_organization
from service.store.queries import runs

_CODEC: Final = CursorCodec[RunKey](lambda key: key.bytes, lambda data: RunKey(UUID(bytes=data)))


class ListPage(NamedTuple):
    """The items of a page as a JSON array, and the cursor of the next page, or None at the end of the list."""

    data: str
    next_cursor: str | None


async def list_runs(pool: Pool, caller: Caller, query: RunQuery) -> ListPage:
    """Return runs, newest first. Raises InvalidRequest for a cursor of another list."""
    filter_ = restrict_to_project(query.to_filter(), caller.project_id)
    if filter_ is None:
        return ListPage("[]", None)
    cursors = _run_cursors(caller.org_id, filter_)
    after = cursors.read(query.starting_after)
    async with as_organization(pool, caller.org_id) as connection:
        page = await runs.list_page(connection, caller.org_id, filter_, after, query.limit)
    return ListPage(page.data, cursors.write(page.next))


@lru_cache(MAX_CACHED)
def _run_cursors(org_id: OrgId, filter_: RunFilter) -> Cursors[RunKey]:
    return Cursors(_CODEC, "runs", org_id, filter_.set_fields())
