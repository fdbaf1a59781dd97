"""Trusted publishers for a caller: a page of the list, one of them, and the newest exchanges of tokens."""

from typing import Final

from service.contracts.publishers import TokenExchange, TrustedPublisher
from service.contracts.queries import PageQuery
from service.domain.cursors import Cursors, ids
from service.domain.keys import Caller
from service.store import publishers, token_exchanges
from service.store.postgres.database import Connection, Pool, as_organization
from service.store.queries.pages import RowPage
from service.usecases.administration.publishers import publisher_ref, read_stored_publisher
from service.usecases.lists.pages import ListPage, read_page

_CODEC: Final = ids("pub")


async def list_publishers(pool: Pool, caller: Caller, query: PageQuery) -> ListPage[TrustedPublisher]:
    """Return publishers, newest first. Raises InvalidRequest for a cursor of another list."""

    async def read(connection: Connection, before: str | None) -> RowPage[TrustedPublisher, str]:
        return await publishers.list_page(connection, caller.org_id, caller.project_id, before, query.limit)

    cursors = Cursors(_CODEC, "publishers", caller.org_id, {"project_id": caller.project_id})
    return await read_page(pool, caller, cursors, query.starting_after, read)


async def find_publisher(pool: Pool, caller: Caller, publisher_id: str) -> TrustedPublisher:
    """Return one publisher. Raises NotFound."""
    ref = publisher_ref(caller, publisher_id)
    async with as_organization(pool, caller.org_id) as connection:
        return await read_stored_publisher(connection, ref)


async def list_exchanges(pool: Pool, caller: Caller, publisher_id: str | None) -> list[TokenExchange]:
    """Return the newest exchanges of the caller's organization or project, newest first, optionally of a publisher."""
    async with as_organization(pool, caller.org_id) as connection:
        return await token_exchanges.list_newest(connection, caller.org_id, caller.project_id, publisher_id)
