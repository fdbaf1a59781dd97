"""The event numbers of positions that clients have stored."""

import time
from typing import Final

from service.domain.errors import Gone, InvalidRequest, NotFound
from service.domain.events import RETENTION_DAYS
from service.domain.ids import OrgId, id_timestamp_ms
from service.domain.streams import AFTER_LAST, StreamPosition
from service.store import events
from service.store.postgres.database import Connection, Pool, as_organization

_DELETED: Final = (
    f"events that follow this position were deleted, because the service keeps events for {RETENTION_DAYS} days"
)
_LOST: Final = (
    "a failover or a restored backup has lost the event of this position, and other events can have its number"
)


async def find_start(pool: Pool, org_id: OrgId, last_seen: str, param: str, live_from: int) -> int:
    """Return the event number after which a stream starts. The next event has a number greater than `live_from`.

    Raises errors like `find_position`.
    """
    async with as_organization(pool, org_id) as connection:
        position = await find_position(connection, org_id, last_seen, param)
    return live_from if position == AFTER_LAST else position


async def find_position(connection: Connection, org_id: OrgId, last_seen: str, param: str) -> int:
    """Return the event number of a position, or AFTER_LAST if its event isn't numbered yet.

    Raises Gone if a following event was deleted or events were lost, and NotFound if the ID of an event doesn't exist.
    """
    position = StreamPosition.parse(last_seen)
    if position is None:
        raise InvalidRequest(f"{param}: must be a position, or the ID or the number of an event", param)
    if position.event_id is not None:
        number = await events.find_number(connection, org_id, position.event_id)
        if number is not None:
            return number
    if position.number is None:
        raise _missing(str(position), param)
    return await _check_number(connection, org_id, position, position.number, param)


async def _check_number(
    connection: Connection, org_id: OrgId, position: StreamPosition, number: int, param: str
) -> int:
    """Return the number of a position whose event isn't stored, or whose ID is unknown. Raises Gone."""
    last, deleted_to = await events.find_bounds(connection, org_id)
    if number < deleted_to:
        raise _gone(_DELETED, param)
    if number > (last if position.event_id is None else deleted_to):
        raise _gone(_LOST, param)
    return number


def _gone(reason: str, param: str) -> Gone:
    return Gone(f"{param}: {reason}; start again without {param}")


def _missing(event_id: str, param: str) -> Gone | NotFound:
    """Return the error for an event that isn't stored. If it is older than the retention, following events can be
    deleted."""
    if id_timestamp_ms(event_id) < (time.time() - RETENTION_DAYS * 24 * 3600) * 1000:
        return _gone(_DELETED, param)
    return NotFound(f"{param}: event {event_id!r} not found")
