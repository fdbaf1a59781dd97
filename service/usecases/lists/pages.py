"""A page of a list: from the cursor of the request to the cursor of the next page."""

from collections.abc import Awaitable, Callable, Sequence
from typing import Generic, NamedTuple, TypeVar

from service.domain.cursors import AnyPosition, Cursors
from service.domain.keys import Caller
from service.store.postgres.database import Connection, Pool, as_organization
from service.store.queries.pages import RowPage

Item = TypeVar("Item")


class ListPage(NamedTuple, Generic[Item]):
    """The items of a page, and the cursor of the next page, or None at the end of the list."""

    items: Sequence[Item]
    next_cursor: str | None


ReadPage = Callable[[Connection, AnyPosition | None], Awaitable[RowPage[Item, AnyPosition]]]


async def read_page(
    pool: Pool,
    caller: Caller,
    cursors: Cursors[AnyPosition],
    starting_after: str | None,
    read: ReadPage[AnyPosition, Item],
) -> ListPage[Item]:
    """Return the page after a cursor. `read` returns the rows after a position.

    Raises InvalidRequest for a cursor of another list.
    """
    after = cursors.read(starting_after)
    async with as_organization(pool, caller.org_id) as connection:
        page = await read(connection, after)
    return ListPage(page.rows, cursors.write(page.next))
