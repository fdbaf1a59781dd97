"""A page of the list of runs."""

from typing import Final
from uuid import UUID

from service.contracts.queries import RunQuery
from service.domain.cursors import CursorCodec, Cursors
from service.domain.filters import restrict_to_project
from service.domain.ids import RunKey
from service.domain.keys import Caller
from service.domain.rows import RunRow
from service.store.postgres.database import Connection, Pool
from service.store.queries import runs
from service.store.queries.pages import RowPage
from service.usecases.lists.pages import ListPage, read_page

_CODEC: Final = CursorCodec[RunKey](lambda key: key.bytes, lambda data: RunKey(UUID(bytes=data)))


async def list_runs(pool: Pool, caller: Caller, query: RunQuery) -> ListPage[RunRow]:
    """Return runs, newest first. Raises InvalidRequest for a cursor of another list."""
    filter_ = restrict_to_project(query.to_filter(), caller.project_id)
    if filter_ is None:
        return ListPage((), None)

    async def read(connection: Connection, after: RunKey | None) -> RowPage[RunRow, RunKey]:
        return await runs.list_page(connection, caller.org_id, filter_, after, query.limit)

    cursors = Cursors(_CODEC, "runs", caller.org_id, filter_.set_fields())
    return await read_page(pool, caller, cursors, query.starting_after, read)
