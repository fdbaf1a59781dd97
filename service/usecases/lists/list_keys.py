"""A page of the list of API keys."""

from typing import Final

from service.contracts.queries import PageQuery
from service.contracts.responses import ApiKey
from service.domain.cursors import Cursors, ids
from service.domain.keys import Caller
from service.store import keys
from service.store.postgres.database import Connection, Pool
from service.store.queries.pages import RowPage
from service.usecases.lists.pages import ListPage, read_page

_CODEC: Final = ids("key")


async def list_keys(pool: Pool, caller: Caller, query: PageQuery) -> ListPage[ApiKey]:
    """Return keys, including revoked ones, newest first. Raises InvalidRequest for a cursor of another list."""

    async def read(connection: Connection, before: str | None) -> RowPage[ApiKey, str]:
        return await keys.list_page(connection, caller.org_id, caller.project_id, before, query.limit)

    cursors = Cursors(_CODEC, "keys", caller.org_id, {"project_id": caller.project_id})
    return await read_page(pool, caller, cursors, query.starting_after, read)
