"""Connections: the sockets that they come in by, what is read from them, and the answer to what is no request."""

import asyncio
import socket
from collections.abc import AsyncIterator, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from typing import Any, Final
from uuid import uuid4

from aiohttp import HttpVersion11, web
from aiohttp.http_exceptions import InvalidURLError

from service.api.http.responses import REQUEST_ID, SERVER, reply_error
from service.domain.errors import ServiceError
from service.log import log

OPTIONS: Final[dict[str, Any]] = {
    "access_log": None,
    "auto_decompress": False,  # a child of the reports consumer unpacks compressed reports, within limits
    # Room for a query that is refused by the name of its parameter. A header may be sent a hundred times over, and
    # none that is read here is long: its 8 KiB are enough.
    "max_line_size": 64 * 2**10,
}
_BACKLOG: Final = 128
_NO_URL: Final = "its address is no URL"
_MAX_SHOWN: Final = 200


class CannotListen(ServiceError):
    """The address can't be listened on."""


class ApiProtocol(web.RequestHandler):
    """One connection, on which what can't be read as a request is answered in the shape of all errors."""

    __slots__ = ()

    def handle_error(
        self, request: web.BaseRequest, status: int = 500, exc: BaseException | None = None, message: str | None = None
    ) -> web.StreamResponse:
        """Also called for faults around a handler, never for those in one: aiohttp logs and answers them."""
        reason = _NO_URL if isinstance(exc, InvalidURLError) else message
        response = super().handle_error(request, status, exc, message) if status != 400 else _refusal(request, reason)
        response.headers["Server"] = SERVER
        return response


async def handle_expect(request: web.Request) -> web.StreamResponse | None:
    """Asks for the body that a client holds back (RFC 9110, 10.1.1), or refuses what else it expects."""
    if request.headers["Expect"].lower() != "100-continue":
        return _refusal(request, "it expects what is not known here; 100-continue is")
    if request.version >= HttpVersion11:
        await request.writer.write(b"HTTP/1.1 100 Continue\r\n\r\n")
    return None


def bind(host: str, port: int) -> list[socket.socket]:
    """A socket for each address of the host. Nobody is let in before something listens on it. Raises CannotListen."""
    try:
        found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)
        return [_bound(family, address) for family, _, _, _, address in dict.fromkeys(found)]
    except OSError as error:
        raise CannotListen(f"{host}:{port}: {error.strerror or error}") from error


def address_of(bound: socket.socket) -> str:
    """The address that was taken, which differs from the one that was asked for where that has port 0."""
    host, port = bound.getsockname()[:2]
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"


@asynccontextmanager
async def serving(app: web.Application, sockets: Sequence[socket.socket], drain_s: float) -> AsyncIterator[None]:
    """Serves the application; at the end, what is under way may take that long to be answered. Raises CannotListen."""
    runner = web.AppRunner(app, shutdown_timeout=drain_s)
    await runner.setup()
    async with AsyncExitStack() as opened:
        opened.push_async_callback(runner.cleanup)
        for bound in sockets:
            opened.callback((await _listen(runner, bound)).close)
        yield


async def _listen(runner: web.AppRunner, bound: socket.socket) -> asyncio.Server:
    """Does what a site of aiohttp does, which would make connections of aiohttp's own kind."""
    loop, server = asyncio.get_running_loop(), runner.server
    assert server is not None  # noqa: S101 - since setup
    try:
        return await loop.create_server(lambda: ApiProtocol(server, loop=loop, **OPTIONS), sock=bound, backlog=_BACKLOG)
    except OSError as error:
        raise CannotListen(f"{address_of(bound)}: {error.strerror or error}") from error


def _refusal(request: web.BaseRequest, message: str | None) -> web.Response:
    reason = (message or "").partition(":")[0][:_MAX_SHOWN]  # what was sent comes next, and may be a key
    request[REQUEST_ID] = uuid4().hex
    log.info("request_not_readable", request_id=request[REQUEST_ID], remote=request.remote, reason=reason)
    response = reply_error(request, 400, "invalid_request", f"this can't be read as a request: {reason}")
    response.headers["X-Request-Id"] = request[REQUEST_ID]
    response.force_close()
    return response


def _bound(family: int, address: tuple[object, ...]) -> socket.socket:
    opened = socket.socket(family, socket.SOCK_STREAM)
    opened.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    if family == socket.AF_INET6:
        opened.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
    opened.bind(address)
    return opened
