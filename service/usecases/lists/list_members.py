"""Members for a caller: a page of the list, and one of them."""

from typing import Final

from service.contracts.members import Member
from service.contracts.queries import PageQuery
from service.domain.cursors import Cursors, ids
from service.domain.keys import Caller
from service.store import members
from service.store.postgres.database import Connection, Pool, as_organization
from service.store.queries.pages import RowPage
from service.usecases.administration.members import member_ref, read_member
from service.usecases.lists.pages import ListPage, read_page

_CODEC: Final = ids("mem")


async def list_members(pool: Pool, caller: Caller, query: PageQuery) -> ListPage[Member]:
    """Return members, newest first. Raises InvalidRequest for a cursor of another list."""

    async def read(connection: Connection, before: str | None) -> RowPage[Member, str]:
        return await members.list_page(connection, caller.org_id, caller.project_id, before, query.limit)

    cursors = Cursors(_CODEC, "members", caller.org_id, {"project_id": caller.project_id})
    return await read_page(pool, caller, cursors, query.starting_after, read)


async def find_member(pool: Pool, caller: Caller, member_id: str) -> Member:
    """Return one member. Raises NotFound."""
    ref = member_ref(caller, member_id)
    async with as_organization(pool, caller.org_id) as connection:
        return await read_member(connection, ref)
