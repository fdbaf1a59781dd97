"""The live stream of a page: a message for each change of a run or export that the page can show."""

import asyncio
import time
from typing import Final

from aiohttp import web

from service.console.pages import ConsoleRoute, require_session
from service.console.sessions import find_session
from service.contracts.queries import Name, Query
from service.events.model import EventFilter
from service.events.subscriptions import Subscriber
from service.http.authentication import get_caller
from service.http.parsing import parse_query
from service.http.process import RESOURCES
from service.http.waiting import HEARTBEAT, HEARTBEAT_S, RETRY, run_until_disconnected, start_stream

_RUN_EVENTS: Final = ("run.completed", "run.updated")
_EXPORT_EVENTS: Final = ("export.completed", "export.failed")
_CHANGED: Final = b"event: changed\ndata: {}\n\n"  # a message without data has no effect
_CHECK_S: Final = 1.0  # with the lifetime of a cached session, less than the 5 s in which a stream must end


class LiveQuery(Query):
    """The stream of all runs, or of one."""

    run_id: Name | None = None


async def stream_changes(request: web.Request) -> web.StreamResponse:
    """Send a message after each change of a run, until the session ends. The page then loads its data again."""
    query = parse_query(request, LiveQuery)
    return await _stream(request, EventFilter(_RUN_EVENTS, query.run_id, get_caller(request).project_id))


async def stream_exports(request: web.Request) -> web.StreamResponse:
    """Send a message when an export is finished, until the session ends."""
    parse_query(request, Query)
    return await _stream(request, EventFilter(_EXPORT_EVENTS, None, get_caller(request).project_id))


async def _stream(request: web.Request, filter_: EventFilter) -> web.StreamResponse:
    caller, resources = get_caller(request), request.app[RESOURCES]
    async with (
        resources.streams.slot(caller.credential_id),
        resources.subscriptions.subscribe(caller.org_id, filter_) as (subscriber, _),
    ):
        response = await start_stream(request)
        if request.method != "HEAD":
            await run_until_disconnected(request, _send(request, response, subscriber), subscriber)
    return response


async def _send(request: web.Request, response: web.StreamResponse, subscriber: Subscriber) -> None:
    """Send messages until the role or the project of the session changes: the browser then connects again.

    Raises Unauthorized when the session has ended, and Disconnected.
    """
    caller = get_caller(request)
    await response.write(RETRY)
    written_at = time.monotonic()
    while True:
        message = await _next_message(subscriber)
        if (await find_session(request)).caller != caller:
            return
        if message is None and time.monotonic() - written_at >= HEARTBEAT_S:
            message = HEARTBEAT
        if message is not None:
            await response.write(message)
            written_at = time.monotonic()


async def _next_message(subscriber: Subscriber) -> bytes | None:
    """Return a message if an event occurs within a second, or None."""
    try:
        await asyncio.wait_for(subscriber.next(), _CHECK_S)
    except TimeoutError:
        return None
    return _CHANGED


ROUTES: Final = (
    ConsoleRoute("stream", "/console/stream", require_session("results:read", stream_changes)),
    ConsoleRoute("exports_stream", "/console/exports/stream", require_session("results:export", stream_exports)),
)
