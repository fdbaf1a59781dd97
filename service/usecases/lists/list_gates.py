"""Gates for a caller: a page of the list, and one of them."""

from service.contracts.gates import GateOut
from service.contracts.queries import PageQuery
from service.domain.cursors import TEXT, Cursors
from service.domain.keys import Caller
from service.store import gates
from service.store.postgres.database import Connection, Pool, as_organization
from service.store.queries.pages import RowPage
from service.usecases.gates.manage_gates import check_stored_name, read_gate
from service.usecases.lists.pages import ListPage, read_page


async def list_gates(pool: Pool, caller: Caller, query: PageQuery) -> ListPage[GateOut]:
    """Return gates in the order of their names. Raises InvalidRequest for a cursor of another list."""

    async def read(connection: Connection, after: str | None) -> RowPage[GateOut, str]:
        return await gates.list_page(connection, caller.org_id, after, query.limit)

    cursors = Cursors(TEXT, "gates", caller.org_id, {})
    return await read_page(pool, caller, cursors, query.starting_after, read)


async def find_gate(pool: Pool, caller: Caller, name: str) -> GateOut:
    """Return one gate. Raises NotFound."""
    check_stored_name(name)
    async with as_organization(pool, caller.org_id) as connection:
        return await read_gate(connection, caller.org_id, name)
