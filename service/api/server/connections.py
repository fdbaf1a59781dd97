"""The server's sockets and connections, including responses to input that isn't a valid HTTP request."""

import asyncio
import socket
import time
from collections.abc import AsyncIterator, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from itertools import chain
from typing import Any, Final, Protocol
from uuid import uuid4

from aiohttp import HttpVersion11, hdrs, web
from aiohttp.http_exceptions import InvalidURLError
from aiohttp.streams import EMPTY_PAYLOAD, StreamReader

from service.domain.errors import ServiceError, Unavailable
from service.http.responses import REQUEST_ID, SERVER, reply_error
from service.log import log
from service.settings import Settings

HEADROOM: Final = 32  # connections over the limit that can only request the paths of probes
PROBE_PATHS: Final = frozenset({"/healthz", "/readyz", "/metrics"})
_OTHER_DESCRIPTORS: Final = 256  # files, pipes, and connections to storage and Redis
OPTIONS: Final[dict[str, Any]] = {
    "access_log": None,
    # Also for the first request. Longer than the idle timeouts of usual load balancers (60 s), which reuse connections.
    "keepalive_timeout": 75.0,
    "auto_decompress": False,  # the reports consumer decompresses reports, within limits, in a child process
    # Large enough to report a query parameter that is too long by its name. The limit of a header keeps its default
    # of 8 KiB, because a request can repeat a header a hundred times, and the service needs no larger header.
    "max_line_size": 64 * 2**10,
}
_BACKLOG: Final = 128
_DRAIN_POLL_S: Final = 0.1
_CANCEL_TIMEOUT_S: Final = 1.0  # for requests that are canceled after the drain
_INVALID_URL: Final = "the URL is invalid"
_MAX_REASON_LENGTH: Final = 200


class CannotListen(ServiceError):
    """The service can't listen on the configured address."""


class OpenConnection(Protocol):
    """A connection that can be closed while it waits for a request."""

    @property
    def is_idle(self) -> bool: ...

    def force_close(self) -> None: ...


class ConnectionLimit:
    """The open connections, oldest first. Over the limit, a new connection replaces an idle one.

    Connections that have never sent a request are closed first, because a load balancer reuses the others.
    """

    def __init__(self, max_connections: int) -> None:
        self._max = max_connections
        self._silent: dict[OpenConnection, None] = {}  # without a request so far
        self._used: dict[OpenConnection, None] = {}
        self.is_draining = False  # each connection then closes after its response

    @property
    def count(self) -> int:
        """The number of open connections."""
        return len(self._silent) + len(self._used)

    @property
    def is_exceeded(self) -> bool:
        """Whether more connections are open than the limit."""
        return self.count > self._max

    def add(self, connection: OpenConnection) -> bool:
        """Add a connection. Return False if it exceeds the limit and the headroom, so that it must be closed."""
        if self.count >= self._max:
            self._replace_idle()
        self._silent[connection] = None
        return self.count <= self._max + HEADROOM

    def mark_used(self, connection: OpenConnection) -> None:
        """Record that the connection has sent a request."""
        if connection in self._silent:
            del self._silent[connection]
            self._used[connection] = None

    def remove(self, connection: OpenConnection) -> None:
        """Remove a closed connection."""
        self._silent.pop(connection, None)
        self._used.pop(connection, None)

    def close_idle(self) -> None:
        """Close all connections that wait for a request. They count until they are closed."""
        for connection in [*self._silent, *self._used]:
            if connection.is_idle:
                connection.force_close()

    def _replace_idle(self) -> None:
        idle = next((connection for connection in chain(self._silent, self._used) if connection.is_idle), None)
        if idle is not None:
            self.remove(idle)
            idle.force_close()


def max_connections(settings: Settings, descriptors: int) -> int:
    """Return the limit of the settings, or the number of connections for which there are file descriptors."""
    available = max(1, descriptors - HEADROOM - 2 * settings.database_pool_size - _OTHER_DESCRIPTORS)
    if available < settings.http_max_connections:
        log.warning("connection_limit_reduced", limit=available, file_descriptors=descriptors)
    return min(available, settings.http_max_connections)


class ApiProtocol(web.RequestHandler):
    """One connection. For input that isn't a valid request, it returns the common error body."""

    __slots__ = ("_is_over_limit", "_last_body", "_limit")

    def __init__(self, server: web.Server, limit: ConnectionLimit, **options: Any) -> None:
        super().__init__(server, **options)
        self._limit = limit
        self._is_over_limit = False
        self._last_body: StreamReader = EMPTY_PAYLOAD

    @property
    def is_idle(self) -> bool:
        """Whether the connection waits for a request, which can be incomplete, or for the body after its response.

        aiohttp reads the rest of the body for 10 s, because a client can send it before it reads the response.
        """
        is_waiting = self._waiter is not None and not self._waiter.done()
        return is_waiting or not self._last_body.is_eof()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Count the connection, and close it if there are too many."""
        super().connection_made(transport)
        has_capacity = self._limit.add(self)
        self._is_over_limit = self._limit.is_exceeded
        if not has_capacity:
            self.force_close()

    def connection_lost(self, exc: BaseException | None) -> None:
        """Remove the connection from the count."""
        self._limit.remove(self)
        super().connection_lost(exc)

    async def finish_response(
        self, request: web.BaseRequest, resp: web.StreamResponse, start_time: float | None
    ) -> tuple[web.StreamResponse, bool]:
        """Send the response. While the process drains, the connection closes after it."""
        if self._limit.is_draining:
            resp.force_close()
        sent = await super().finish_response(request, resp, start_time)
        self._last_body = request.content
        return sent

    def check_limit(self, path: str) -> None:
        """Raise Unavailable if the connection is one of too many, unless a probe sends the request."""
        self._limit.mark_used(self)
        if self._is_over_limit and self._limit.is_exceeded and path not in PROBE_PATHS:
            raise Unavailable("too many open connections; retry later")

    def handle_error(
        self, request: web.BaseRequest, status: int = 500, exc: BaseException | None = None, message: str | None = None
    ) -> web.StreamResponse:
        """Return the response to a malformed request or to an error outside of the handlers.

        aiohttp handles exceptions of handlers itself.
        """
        reason = _INVALID_URL if isinstance(exc, InvalidURLError) else message
        if status == 400:
            response: web.StreamResponse = _malformed_request(request, reason)
        else:
            response = super().handle_error(request, status, exc, message)
        response.headers["Server"] = SERVER
        return response


async def handle_expect(request: web.Request) -> web.StreamResponse | None:
    """Send 100 Continue to a client that waits for it (RFC 9110, section 10.1.1), and reject other expectations."""
    if request.headers["Expect"].lower() != "100-continue":
        return _malformed_request(request, "Expect must be 100-continue")
    if request.version >= HttpVersion11:
        await request.writer.write(b"HTTP/1.1 100 Continue\r\n\r\n")
    return None


def reject_ambiguous_body(request: web.Request) -> web.Response | None:
    """Return an error for a chunked body of HTTP/1.0 (RFC 9112, section 6.1), otherwise None.

    A proxy that doesn't know Transfer-Encoding would pass a second request, hidden in the body, as the request of any
    client.
    """
    if request.version < HttpVersion11 and hdrs.TRANSFER_ENCODING in request.headers:
        return _malformed_request(request, "Transfer-Encoding requires HTTP/1.1")
    return None


def _malformed_request(request: web.BaseRequest, message: str | None) -> web.Response:
    reason = (message or "").partition(":")[0][:_MAX_REASON_LENGTH]  # the rest repeats input, which can contain a key
    request[REQUEST_ID] = uuid4().hex
    log.info("malformed_request", request_id=request[REQUEST_ID], remote=request.remote, reason=reason)
    response = reply_error(request, 400, "invalid_request", f"malformed HTTP request: {reason}")
    response.headers["X-Request-Id"] = request[REQUEST_ID]
    response.force_close()
    return response


def bind_sockets(host: str, port: int) -> list[socket.socket]:
    """Bind a socket for each address of the host. Clients can't connect before `serve_app`. Raises CannotListen."""
    try:
        found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)
        return [_bind(family, address) for family, _, _, _, address in dict.fromkeys(found)]
    except OSError as error:
        raise CannotListen(f"{host}:{port}: {error.strerror or error}") from error


def _bind(family: int, address: tuple[object, ...]) -> socket.socket:
    bound = socket.socket(family, socket.SOCK_STREAM)
    bound.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    if family == socket.AF_INET6:
        bound.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
    bound.bind(address)
    return bound


def format_address(bound: socket.socket) -> str:
    """Return the address and port of the socket; port 0 selects a free port."""
    host, port = bound.getsockname()[:2]
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"


@asynccontextmanager
async def serve_app(
    app: web.Application, sockets: Sequence[socket.socket], drain_s: float, max_connections: int
) -> AsyncIterator[None]:
    """Serve the application during the block, then wait at most `drain_s` for requests. Raises CannotListen."""
    limit = ConnectionLimit(max_connections)
    runner = web.AppRunner(app, shutdown_timeout=_CANCEL_TIMEOUT_S)
    await runner.setup()
    async with AsyncExitStack() as opened:
        opened.push_async_callback(runner.cleanup)
        opened.push_async_callback(_drain, runner, limit, drain_s)
        for bound in sockets:
            opened.callback((await _listen(runner, bound, limit)).close)
        yield


async def _listen(runner: web.AppRunner, bound: socket.socket, limit: ConnectionLimit) -> asyncio.Server:
    """Listen like aiohttp's SockSite, which doesn't support a custom protocol class."""
    loop, server = asyncio.get_running_loop(), runner.server
    assert server is not None  # noqa: S101 - set by setup()
    try:
        return await loop.create_server(
            lambda: ApiProtocol(server, limit, loop=loop, **OPTIONS), sock=bound, backlog=_BACKLOG
        )
    except OSError as error:
        raise CannotListen(f"{format_address(bound)}: {error.strerror or error}") from error


async def _drain(runner: web.AppRunner, limit: ConnectionLimit, drain_s: float) -> None:
    """Wait for the requests in progress, at most `drain_s`, and close idle connections.

    `AppRunner.cleanup` drops the rest of a body that is arriving, so the requests must be finished before it. Event
    streams and long-polling requests end repeatedly, because a request can begin to wait after the first time.
    """
    limit.is_draining = True
    deadline = time.monotonic() + drain_s
    while limit.count and time.monotonic() < deadline:
        await runner.shutdown()
        await asyncio.sleep(_DRAIN_POLL_S)  # also lets the requests start that clients have just sent
        limit.close_idle()
