"""Requests that wait: long polling (`?wait=`, or the header `Prefer`, RFC 7240), and streams of server-sent events."""

import asyncio
import re
import socket
from collections.abc import Coroutine
from typing import Any, Final

from aiohttp import web

from service.contracts.queries import LONGEST_WAIT_S, WaitQuery
from service.domain.errors import ServiceError, Unauthorized
from service.events.subscriptions import Disconnected, Subscriber
from service.http.authentication import check_still_valid, get_caller
from service.http.parsing import parse_query
from service.http.process import RESOURCES
from service.http.responses import REQUEST_ID
from service.log import log
from service.stopping import end_tasks
from service.tasks.watch import Watch, Watched

_CHECK_KEY_S: Final = 2.0  # a check usually uses only the cache of keys
_PREFER_WAIT: Final = re.compile(r'wait\s*=\s*"?([0-9]{1,9})"?(?:\s*;.*)?', re.IGNORECASE)

HEARTBEAT_S: Final = 15.0
# Without an empty line, which ends an event: some clients return an event without data, although browsers ignore it.
HEARTBEAT: Final = b": heartbeat\n"
RETRY: Final = b"retry: 2000\n"  # ms before a disconnected client reconnects
_SEND_BUFFER_BYTES: Final = 64 * 1024
_DISCONNECT_TIMEOUT_S: Final = 1.0  # for a disconnected client to receive the data that was sent
_HEADERS: Final = {
    "Content-Type": "text/event-stream; charset=utf-8",
    "Cache-Control": "no-store",
    "X-Accel-Buffering": "no",  # otherwise, nginx buffers the events
}


def requested_wait_s(request: web.Request) -> int:
    """Return the number of seconds to wait. The query parameter takes precedence over the header.

    An invalid preference is ignored, and a preference above the maximum is reduced to it, as RFC 7240 allows.
    """
    query = parse_query(request, WaitQuery)
    return query.wait if "wait" in query.model_fields_set else _preferred_wait_s(request)


def _preferred_wait_s(request: web.Request) -> int:
    """Return the first valid `wait` preference, or 0."""
    preferences = (part.strip() for value in request.headers.getall("Prefer", ()) for part in value.split(","))
    waits = (match[1] for match in map(_PREFER_WAIT.fullmatch, preferences) if match)
    return min(int(next(waits, 0)), LONGEST_WAIT_S)


async def wait_until_finished(request: web.Request, watch: Watch[Watched], watched: Watched, timeout_s: float) -> None:
    """Wait until the object is finished or the time is over.

    Raises Unauthorized soon after the API key has become invalid, and RateLimitExceeded if it has too many waiting
    requests.
    """
    caller, loop = get_caller(request), asyncio.get_running_loop()
    deadline_s, finished = loop.time() + timeout_s, False
    async with request.app[RESOURCES].waits.slot(caller.credential_id):
        while not finished and (left_s := deadline_s - loop.time()) > 0:
            finished = await watch.wait(caller.org_id, watched, min(left_s, _CHECK_KEY_S))
            await check_still_valid(request)


async def start_stream(request: web.Request) -> web.StreamResponse:
    """Send the headers of a stream. A HEAD request gets nothing else."""
    response = web.StreamResponse(headers={**_HEADERS, "X-Request-Id": request[REQUEST_ID]})
    response.force_close()
    await response.prepare(request)
    if request.method != "HEAD":
        _limit_send_buffer(request)
    return response


def _limit_send_buffer(request: web.Request) -> None:
    """Limit the socket's send buffer. By default, the kernel buffers megabytes for a client that doesn't read."""
    if request.transport is not None:
        connection = request.transport.get_extra_info("socket")
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, _SEND_BUFFER_BYTES)


async def run_until_disconnected(
    request: web.Request, sending: Coroutine[Any, Any, None], subscriber: Subscriber
) -> None:
    """Send until the subscriber is disconnected, then abort the connection if the client doesn't read.

    The status is already sent, so an error ends the stream without another response. The client then reconnects.
    """
    sender, disconnection = asyncio.create_task(sending), asyncio.create_task(subscriber.wait_disconnected())
    try:
        await asyncio.wait({sender, disconnection}, return_when=asyncio.FIRST_COMPLETED)
        await asyncio.wait({sender}, timeout=_DISCONNECT_TIMEOUT_S)
        if not sender.done() and request.transport:
            request.transport.abort()
    finally:
        await end_tasks([sender, disconnection])
    if sender.done() and not sender.cancelled():
        _report_end(request, sender)


def _report_end(request: web.Request, sender: asyncio.Task[None]) -> None:
    """Log the error of the sender. After an unexpected error, abort the connection so that the client notices it."""
    try:
        sender.result()
    except (Disconnected, Unauthorized, ConnectionError):
        return
    except ServiceError as error:  # such as Unavailable: the key or the session of the client can't be checked
        log.warning("stream_ended", path=request.path, error=str(error))
    except Exception:
        log.exception("stream_failed", path=request.path)
        if request.transport is not None:
            request.transport.abort()
