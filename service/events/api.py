"""HTTP handlers of events: the list, and the live stream as server-sent events."""

import asyncio
from typing import Final

import orjson
from aiohttp import web

from service.domain.errors import InvalidRequest
from service.events import operations
from service.events.contract import Event, EventQuery, StreamQuery, envelope
from service.events.model import EventFilter, NumberedEvent, StreamPosition
from service.events.operations import find_start
from service.events.subscriptions import Subscriber, read_range
from service.http.authentication import check_still_valid, get_caller
from service.http.parsing import parse_query
from service.http.process import RESOURCES
from service.http.responses import reply_page
from service.http.routes import Operation, Route, page_of
from service.http.waiting import HEARTBEAT, HEARTBEAT_S, RETRY, run_until_disconnected, start_stream
from service.identity.keys.model import Caller

_LAST_EVENT_ID: Final = "Last-Event-ID"


async def list_events(request: web.Request) -> web.Response:
    """List events, newest first. With `after`, list the events that followed in ascending order."""
    query, caller = parse_query(request, EventQuery), get_caller(request)
    return reply_page(await operations.list_events(request.app[RESOURCES].pool, caller, query), orjson.Fragment)


async def stream_events(request: web.Request) -> web.StreamResponse:
    """Stream events as they occur, starting after `Last-Event-ID` if it is set. Slow clients are disconnected."""
    query, caller, resources = parse_query(request, StreamQuery), get_caller(request), request.app[RESOURCES]
    filters = EventFilter(query.types, query.run_id, caller.project_id)
    async with (
        resources.streams.slot(caller.credential_id),
        resources.subscriptions.subscribe(caller.org_id, filters) as (subscriber, live_from),
    ):
        start = live_from
        if last_seen := _last_seen(request, query):
            start = await find_start(resources.pool, caller.org_id, *last_seen, live_from)
        response = await start_stream(request)
        if request.method == "HEAD":
            return response
        stream = _Stream(request, response, filters, start)
        await run_until_disconnected(request, stream.send_all(subscriber, caller, live_from), subscriber)
    return response


class _Stream:
    """The stream of one client: first the missed events, then new events, with heartbeats in between."""

    def __init__(self, request: web.Request, response: web.StreamResponse, filters: EventFilter, position: int) -> None:
        self._request = request
        self._response = response
        self._filters = filters
        self._position = position

    async def send_all(self, subscriber: Subscriber, caller: Caller, live_from: int) -> None:
        """Send events until the subscriber is disconnected. Raises Unauthorized when the API key becomes invalid."""
        await self._write(RETRY)
        async for event in read_range(self._request.app[RESOURCES].pool, caller.org_id, self._position, live_from):
            if self._filters.matches(event):
                await self._send(event)
        while True:
            try:
                await self._send(*await asyncio.wait_for(subscriber.next(), HEARTBEAT_S))
            except TimeoutError:
                await self._write(HEARTBEAT)

    async def _send(self, *found: NumberedEvent) -> None:
        """Send the events in one write, except for events that were sent as missed events."""
        frames = [_frame(event) for event in found if event.number > self._position]
        self._position = max(self._position, found[-1].number)
        if frames:
            await self._write(b"".join(frames))

    async def _write(self, data: bytes) -> None:
        await check_still_valid(self._request)
        await self._response.write(data)


def _frame(event: NumberedEvent) -> bytes:
    data = envelope(event.event_id, event.type, event.created_at, event.data)
    position = str(StreamPosition(event.event_id, event.number)).encode()
    return b"id: %s\ndata: %s\n\n" % (position, data)


def _last_seen(request: web.Request, query: StreamQuery) -> tuple[str, str] | None:
    """Return the last position that the client has seen, and the name of its parameter or header.

    Browsers send the header when they reconnect.
    """
    header = request.headers.get(_LAST_EVENT_ID)
    if header and StreamPosition.parse(header) is None:
        raise InvalidRequest(
            f"{_LAST_EVENT_ID}: must be an event ID, or the id of an event in the stream", _LAST_EVENT_ID
        )
    if header:
        return header, _LAST_EVENT_ID
    return (query.after, "after") if query.after else None


ROUTES: Final = (
    Route("GET", "/events", list_events, "results:read", Operation(
        "list_events", "List events", page_of(Event), EventQuery, errors=("not_found", "gone"),
        description="Newest first. With `after`, lists the events after that event, oldest first.",
    )),
    Route("GET", "/events/stream", stream_events, "results:read", Operation(
        "stream_events", "Stream events as server-sent events", {200: "text/event-stream"}, StreamQuery,
        errors=("not_found", "gone"),
        description="Events have the fields `id` (the position after it) and `data` (the envelope as JSON), and no"
        " field `event`. Continues after `Last-Event-ID`, or starts with the next event. Sends a comment at least every"
        " 15 s. Closes the connection of a client that reads too slowly.",
    )),
)  # fmt: skip
