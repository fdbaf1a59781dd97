"""A page of the list of events."""

from dataclasses import asdict
from typing import Final

from service.contracts.queries import EventQuery
from service.domain.cursors import CursorCodec, Cursors, pack_bigint, unpack_bigint
from service.domain.keys import Caller
from service.domain.streams import AFTER_LAST, EventFilter
from service.store import events
from service.store.postgres.database import Connection, Pool
from service.store.queries.pages import RowPage
from service.usecases.events.positions import find_position
from service.usecases.lists.pages import ListPage, read_page

_CODEC: Final = CursorCodec[int](pack_bigint, unpack_bigint)


async def list_events(pool: Pool, caller: Caller, query: EventQuery) -> ListPage[bytes]:
    """Return the envelopes of events, newest first; with `after`, those that followed in ascending order.

    Raises InvalidRequest for a cursor of another list, and errors like `find_position` for `after`.
    """
    filters = EventFilter(query.types, query.run_id, caller.project_id)
    ascending = query.after is not None

    async def read(connection: Connection, position: int | None) -> RowPage[bytes, int]:
        if position is None:
            position = await _find_start(connection, caller, query.after)
        return await events.list_page(connection, caller.org_id, filters, position, query.limit, ascending=ascending)

    cursors = Cursors(_CODEC, "events", caller.org_id, {"ascending": ascending, **asdict(filters)})
    return await read_page(pool, caller, cursors, query.starting_after, read)


async def _find_start(connection: Connection, caller: Caller, after: str | None) -> int:
    return AFTER_LAST if after is None else await find_position(connection, caller.org_id, after, "after")
