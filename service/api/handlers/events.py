"""Events over HTTP: the list, and the live stream as server-sent events."""

import asyncio
import contextlib
import re
import socket
from collections.abc import Coroutine
from dataclasses import asdict
from typing import Any, Final

from aiohttp import web

from service.api.http.authentication import caller, check_still_valid
from service.api.http.parsing import parse_query
from service.api.http.responses import REQUEST_ID, reply_page
from service.api.server.resources import RESOURCES
from service.contracts.events import envelope
from service.contracts.queries import EventQuery, StreamQuery
from service.domain.cursors import CursorCodec, Cursors, pack_bigint, unpack_bigint
from service.domain.errors import InvalidRequest, Unauthorized
from service.domain.ids import OrgId, is_id
from service.domain.keys import Caller
from service.domain.streams import AFTER_LAST, EventFilter, NumberedEvent
from service.store import events
from service.store.postgres.database import Connection, as_organization
from service.usecases.events.subscriptions import Disconnected, Subscriber, find_place, find_start, read_up_to

_PLACES: Final = CursorCodec[int](pack_bigint, unpack_bigint)
_LAST_EVENT_ID: Final = "Last-Event-ID"
_PLACE_IN_STREAM: Final = re.compile(r"\d{1,19}", re.ASCII)
_HEARTBEAT_S: Final = 15.0
_SEND_BUFFER: Final = 64 * 1024
_GRACE_S: Final = 1.0  # for a client that is cut to take what was on its way
_HEARTBEAT: Final = b": still here\n\n"
_BEGINNING: Final = b"retry: 2000\n\n"  # ms until a client that was cut comes again
_HEADERS: Final = {
    "Content-Type": "text/event-stream; charset=utf-8",
    "Cache-Control": "no-store",
    "X-Accel-Buffering": "no",  # or nginx collects what should arrive at once
}


async def list_events(request: web.Request) -> web.Response:
    """Events: the latest first, or, after one that the caller has seen, those that followed it in their order."""
    query, who = parse_query(request, EventQuery), caller(request)
    wanted = EventFilter(query.types, query.run_id, who.project_id)
    ascending = query.after is not None
    cursors = Cursors(_PLACES, "events", who.org_id, {"ascending": ascending, **asdict(wanted)})
    place = cursors.read(query.starting_after)
    async with as_organization(request.app[RESOURCES].pool, who.org_id) as connection:
        if place is None:
            place = await _start(connection, who.org_id, query.after)
        page = await events.list_page(connection, who.org_id, wanted, place, query.limit, ascending=ascending)
    return reply_page(b"[%b]" % b",".join(page.events), cursors.write(page.next))


async def stream_events(request: web.Request) -> web.StreamResponse:
    """Events as they happen, from `Last-Event-ID` on where the client says it; ends where the client is too slow."""
    query, who, resources = parse_query(request, StreamQuery), caller(request), request.app[RESOURCES]
    wanted = EventFilter(query.types, query.run_id, who.project_id)
    async with resources.subscriptions.following(who.org_id) as (subscriber, live_from):
        start = await find_start(resources.pool, who.org_id, _last_seen(request, query), live_from)
        response = web.StreamResponse(headers={**_HEADERS, "X-Request-Id": request[REQUEST_ID]})
        response.force_close()
        await response.prepare(request)
        if request.method == "HEAD":
            return response
        _bound_buffer(request)
        stream = _Stream(request, response, wanted, start)
        await _until_cut(request, stream.send_all(subscriber, who, live_from), subscriber)
    return response


class _Stream:
    """One client's stream: what was missed, then what happens, with heartbeats in between."""

    def __init__(self, request: web.Request, response: web.StreamResponse, wanted: EventFilter, place: int) -> None:
        self._request = request
        self._response = response
        self._wanted = wanted
        self._place = place

    async def send_all(self, subscriber: Subscriber, who: Caller, live_from: int) -> None:
        """Until the subscriber is cut, or its key ends, which raises Unauthorized."""
        await self._write(_BEGINNING)
        async for event in read_up_to(self._request.app[RESOURCES].pool, who.org_id, self._place, live_from):
            await self._send(event)
        while True:
            try:
                await self._send(await asyncio.wait_for(subscriber.next(), _HEARTBEAT_S))
            except TimeoutError:
                await self._write(_HEARTBEAT)

    async def _send(self, event: NumberedEvent) -> None:
        if event.number <= self._place:  # it came both ways, from the list and from the feed
            return
        self._place = event.number
        if self._wanted.matches(event):
            data = envelope(event.event_id, event.type, event.created_at, event.data)
            await self._write(b"id: %d\ndata: %s\n\n" % (event.number, data))

    async def _write(self, data: bytes) -> None:
        await check_still_valid(self._request)
        await self._response.write(data)


def _bound_buffer(request: web.Request) -> None:
    """The kernel would keep megabytes for a client that does not read."""
    if request.transport is not None:
        connection = request.transport.get_extra_info("socket")
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, _SEND_BUFFER)


async def _until_cut(request: web.Request, sending: Coroutine[Any, Any, None], subscriber: Subscriber) -> None:
    """A client that does not read would hold up its stream for ever: when it is cut, its connection ends."""
    sender, cut = asyncio.create_task(sending), asyncio.create_task(subscriber.until_cut())
    try:
        await asyncio.wait({sender, cut}, return_when=asyncio.FIRST_COMPLETED)
        await asyncio.wait({sender}, timeout=_GRACE_S)
        if not sender.done() and request.transport:
            request.transport.abort()
    finally:
        sender.cancel()
        cut.cancel()
    with contextlib.suppress(Disconnected, Unauthorized, ConnectionError, asyncio.CancelledError):
        await sender


async def _start(connection: Connection, org_id: OrgId, after: str | None) -> int:
    return AFTER_LAST if after is None else await find_place(connection, org_id, after)


def _last_seen(request: web.Request, query: StreamQuery) -> str | None:
    """What the client has seen; a browser that comes again by itself says it in the header."""
    told = request.headers.get(_LAST_EVENT_ID)
    if told and not (_PLACE_IN_STREAM.fullmatch(told) or is_id("evt", told)):
        raise InvalidRequest(f"{_LAST_EVENT_ID}: must be an id from the stream, or that of an event", _LAST_EVENT_ID)
    return told or query.after
