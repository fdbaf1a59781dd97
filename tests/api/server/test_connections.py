"""Raw bytes on a connection: oversized lines, malformed requests, and incomplete bodies."""

import asyncio
import re
import socket
import struct
import time
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, ExitStack, asynccontextmanager, suppress
from dataclasses import dataclass
from typing import Any

import orjson
import pytest
import pytest_asyncio
from structlog.testing import capture_logs

from service.api.server import connections
from service.api.server.connections import HEADROOM, OPTIONS, bind_sockets, serve_app
from service.app import make_app
from service.http import bodies
from service.settings import Settings
from tests.served import Api

TIMEOUT_S = 10
PAUSE_S = 0.1
MAX_CONNECTIONS = 20
ROUTES_WITH_BODY = [
    ("POST", "/v1/api-keys"),
    ("POST", "/v1/runs/run_1/report?project_id=shop"),
    ("DELETE", "/v1/runs/run_1"),
]


@dataclass
class RawResponse:
    status: int
    headers: dict[str, str]
    body: Any


@dataclass
class RawServer:
    port: int
    key: str

    async def send(self, *chunks: bytes) -> RawResponse:
        """Send the chunks one by one and return the response."""
        head, _, body = (await asyncio.to_thread(self._exchange, chunks)).partition(b"\r\n\r\n")
        status, *lines = head.decode().splitlines()
        headers = dict(line.split(": ", 1) for line in lines)
        return RawResponse(int(status.split()[1]), headers, orjson.loads(body))

    def _exchange(self, chunks: tuple[bytes, ...]) -> bytes:
        received_bytes = b""
        with self.connect() as connection:
            for part in chunks:
                connection.sendall(part)
                time.sleep(PAUSE_S if len(chunks) > 1 else 0)
            with suppress(ConnectionResetError):  # the server can close before it has read everything
                while not is_complete(received_bytes) and (received := connection.recv(65536)):
                    received_bytes += received
        return received_bytes

    def connect(self) -> socket.socket:
        return socket.create_connection(("127.0.0.1", self.port), TIMEOUT_S)

    def head(self, method: str, target: str, *headers: str) -> bytes:
        """Return the request line and headers of a request."""
        lines = [
            f"{method} {target} HTTP/1.1",
            "Host: x",
            "Connection: close",
            f"Authorization: Bearer {self.key}",
            *headers,
        ]
        return "\r\n".join([*lines, "", ""]).encode()

    async def get(self, target: str, *headers: str) -> RawResponse:
        return await self.send(self.head("GET", target, *headers))


def is_complete(response: bytes) -> bool:
    """Return whether the response is complete. The server can keep the connection open for the rest of the request."""
    head, ended, body = response.partition(b"\r\n\r\n")
    size = re.search(rb"Content-Length: (\d+)", head)
    return bool(ended and size and len(body) >= int(size[1]))


@pytest.fixture
async def server(api: Api, database_url: str) -> AsyncIterator[RawServer]:
    async with serving(api, database_url) as served:
        yield served


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def shared_server(shared_api: Api, shared_database_url: str) -> AsyncIterator[RawServer]:
    """A server for the tests that send only requests that it rejects."""
    async with serving(shared_api, shared_database_url) as served:
        yield served


@asynccontextmanager
async def serving(api: Api, database_url: str, drain_s: float = 5) -> AsyncIterator[RawServer]:
    """Serve the application on a socket, like `zof-results api`."""
    (bound,) = bind_sockets("127.0.0.1", 0)
    async with serve_app(
        make_app(Settings(database_url=database_url, database_pool_size=4)), [bound], drain_s, MAX_CONNECTIONS
    ):
        yield RawServer(bound.getsockname()[1], api.key)


async def test_upload_in_progress_finishes_when_the_server_stops(api: Api, database_url: str) -> None:
    parts = [b"<testsuite>", *[b'<testcase name="a"/>'] * 3, b"</testsuite>"]
    length = f"Content-Length: {sum(map(len, parts))}"
    async with AsyncExitStack() as opened:
        server = await opened.enter_async_context(serving(api, database_url))
        head = server.head("POST", "/v1/runs/run_1/report?project_id=shop", length)
        with ExitStack() as clients:
            reused, silent, waiting = (clients.enter_context(server.connect()) for _ in range(3))
            reused.sendall(b"GET /healthz HTTP/1.1\r\nHost: x\r\n\r\n")
            assert b" 200 " in await asyncio.to_thread(reused.recv, 65536)
            waiting.sendall(server.head("GET", "/v1/runs/absent?wait=20"))
            upload = asyncio.create_task(server.send(head, *parts))
            await asyncio.sleep(2 * PAUSE_S)
            stop = asyncio.create_task(opened.aclose())
            assert await asyncio.to_thread(reused.recv, 1) == await asyncio.to_thread(silent.recv, 1) == b""
            assert b" 404 " in await asyncio.to_thread(waiting.recv, 65536)
            with pytest.raises(ConnectionRefusedError):
                server.connect()
            assert not upload.done()
            response = await upload
            await stop
    assert (response.status, response.headers["Connection"]) == (202, "close")


async def test_upload_that_takes_longer_than_the_drain_is_aborted(
    api: Api, database_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(connections, "_CANCEL_TIMEOUT_S", 0.1)
    with ExitStack() as opened:
        async with serving(api, database_url, drain_s=0.2) as server:
            connection = opened.enter_context(server.connect())
            connection.sendall(server.head("POST", "/v1/runs/run_1/report?project_id=shop", "Content-Length: 9") + b"<")
            await asyncio.sleep(PAUSE_S)
            started = time.monotonic()
        assert time.monotonic() - started < 10  # the connection is still open


@pytest.mark.parametrize("length", [3_000, 20_000, 60_000])
async def test_parameter_that_is_too_long_is_named(shared_server: RawServer, length: int) -> None:
    response = await shared_server.get(f"/v1/results?branch={'x' * length}")
    assert (response.status, response.body["error"]["code"]) == (400, "invalid_request")
    assert response.body["error"]["param"] == "branch"


async def test_oversized_request_line_returns_the_common_error_body(shared_server: RawServer) -> None:
    assert_invalid_request(await shared_server.get(f"/v1/results?branch={'x' * 100_000}"), "65536")


async def test_oversized_header_returns_the_common_error_body(shared_server: RawServer) -> None:
    assert_invalid_request(await shared_server.get("/v1/results", f"If-None-Match: {'x' * 10_000}"), "8190")


@pytest.mark.parametrize(
    "sent",
    [
        b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03 a TLS greeting\r\n\r\n",
        b"EHLO mail.example\r\n\r\n",
        b"GET /v1/results HTTP/1.1\r\nno colon here\r\n\r\n",
        b"GET /v1/results HTTP/1.1\r\nHost: x\r\nContent-Length: many\r\n\r\n",
        b"GET http://[bad HTTP/1.1\r\nHost: x\r\n\r\n",
        b"GET /v1/results HTTP/1.1\r\nHost: x\r\nExpect: wonders\r\n\r\n",
        b"GET /v1/results HTTP/1.1\r\nHost: x\r\nExpect: \xff\r\n\r\n",
    ],
)
async def test_malformed_request_returns_the_common_error_body(shared_server: RawServer, sent: bytes) -> None:
    assert_invalid_request(await shared_server.send(sent))


async def test_chunked_body_of_http_1_0_is_rejected_and_hides_no_request(server: RawServer) -> None:
    """A proxy that doesn't know Transfer-Encoding would pass the second request to the server unchecked."""
    head = b"POST /v1/api-keys HTTP/1.0\r\nHost: x\r\nConnection: keep-alive\r\nTransfer-Encoding: chunked\r\n\r\n"
    with server.connect() as connection:
        connection.sendall(head + b"0\r\n\r\nGET /healthz HTTP/1.1\r\nHost: x\r\n\r\n")
        received = b""
        while part := await asyncio.to_thread(connection.recv, 65536):
            received += part
    assert received.startswith(b"HTTP/1.0 400 ")
    assert b"Transfer-Encoding requires HTTP/1.1" in received
    assert received.count(b"HTTP/1.") == 2  # in the status line and the message


async def test_invalid_url_is_reported(shared_server: RawServer) -> None:
    assert_invalid_request(
        await shared_server.send(b"GET http://x:99999/v1/runs HTTP/1.1\r\nHost: x\r\n\r\n"), "the URL is invalid"
    )


@pytest.mark.parametrize("chunk", [b"", b"zz\r\n", b"0\r\nno colon\r\n\r\n"])
@pytest.mark.parametrize(("method", "target"), ROUTES_WITH_BODY)
async def test_body_that_stops_arriving_returns_400(
    shared_server: RawServer, method: str, target: str, chunk: bytes, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(bodies, "_READ_TIMEOUT_S", 0.5)
    head = shared_server.head(method, target, "Transfer-Encoding: chunked", "Idempotency-Key: one")
    assert_invalid_request(await shared_server.send(head, b"5\r\nfirst\r\n", chunk), "didn't arrive within 0.5 s")


async def test_form_that_stops_arriving_returns_400(server: RawServer, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(bodies, "_READ_TIMEOUT_S", 0.5)
    form = "Content-Type: multipart/form-data; boundary=frontier"
    head = server.head("POST", "/v1/runs/run_1/report?project_id=shop", form, "Content-Length: 1000")
    assert_invalid_request(await server.send(head + b"--frontier\r\n"), "didn't arrive within 0.5 s")


SLOW_BYTES = 10  # the complete body, so that only the rate is wrong


async def test_body_that_arrives_too_slowly_returns_400(server: RawServer, monkeypatch: pytest.MonkeyPatch) -> None:
    """A client must not keep the memory of an upload by sending a byte from time to time."""
    monkeypatch.setattr(bodies, "_READ_TIMEOUT_S", 0.5)
    head = server.head("POST", "/v1/runs/run_1/report?project_id=shop", f"Content-Length: {SLOW_BYTES}")
    assert_invalid_request(await server.send(head, *[b"x"] * SLOW_BYTES), "4096 bytes per second")


async def test_form_that_arrives_too_slowly_returns_400(server: RawServer, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(bodies, "_READ_TIMEOUT_S", 0.5)
    form = "Content-Type: multipart/form-data; boundary=frontier"
    part = b'--frontier\r\nContent-Disposition: form-data; name="report"\r\n\r\n<testsuite'
    chunks = [
        part,
        *[b" "] * SLOW_BYTES,
        b"/>\r\n--frontier--\r\n",
    ]  # the complete form, so that only the rate is wrong
    length = f"Content-Length: {sum(map(len, chunks))}"
    head = server.head("POST", "/v1/runs/run_1/report?project_id=shop", form, length)
    assert_invalid_request(await server.send(head, *chunks), "4096 bytes per second")


async def test_body_that_arrives_at_the_minimum_rate_is_accepted(
    server: RawServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(bodies, "_READ_TIMEOUT_S", 0.3)
    monkeypatch.setattr(bodies, "_MIN_BYTES_PER_S", 1000)
    chunks = [b"<testsuite>", *[b" " * 400] * 8, b'<testcase name="a"/></testsuite>']
    length = f"Content-Length: {sum(map(len, chunks))}"
    head = server.head("POST", "/v1/runs/run_1/report?project_id=shop", length)
    assert (await server.send(head, *chunks)).status == 202


async def test_expect_100_continue_returns_100(server: RawServer) -> None:
    head = server.head("POST", "/v1/api-keys", "Content-Length: 2", "Expect: 100-continue")
    with server.connect() as connection:
        connection.sendall(head)
        assert await asyncio.to_thread(connection.recv, 65536) == b"HTTP/1.1 100 Continue\r\n\r\n"
        connection.sendall(b"{}")
        assert (await asyncio.to_thread(connection.recv, 65536)).startswith(b"HTTP/1.1 400")


@pytest.mark.parametrize(("method", "target"), ROUTES_WITH_BODY)
async def test_client_that_disconnects_during_the_body_logs_no_error(
    server: RawServer, method: str, target: str
) -> None:
    with capture_logs() as logs:
        for framing, start in (("Content-Length: 100", b"{"), ("Transfer-Encoding: chunked", b"1\r\n{\r\n")):
            with server.connect() as connection:
                connection.sendall(server.head(method, target, framing, "Idempotency-Key: one") + start)
                await asyncio.sleep(PAUSE_S)
                connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            await asyncio.sleep(PAUSE_S)
    assert [line["event"] for line in logs] == []


def assert_invalid_request(response: RawResponse, reason: str = "") -> None:
    assert response.status == 400
    assert response.headers["Content-Type"] == "application/json"
    assert response.headers["Server"] == "zof-results"
    assert response.body["error"]["code"] == "invalid_request"
    assert reason in response.body["error"]["message"]
    assert "xxx" not in response.body["error"]["message"]  # the input can contain a key
    assert response.body["request_id"] == response.headers["X-Request-Id"]


async def test_connections_over_the_limit_replace_idle_ones(server: RawServer) -> None:
    """Connections without a request must not exhaust the file descriptors, and must not lock out other clients."""
    with ExitStack() as opened:
        silent = [opened.enter_context(server.connect()) for _ in range(3 * MAX_CONNECTIONS)]
        await asyncio.sleep(PAUSE_S)
        for path in ("/healthz", "/v1/results"):
            assert (await server.get(path)).status == 200
        closed = [connection for connection in silent if await is_closed(connection)]
        assert len(closed) >= 2 * MAX_CONNECTIONS
        assert silent[-1] not in closed


async def test_connection_over_the_limit_can_only_probe_if_all_others_are_busy(server: RawServer) -> None:
    with ExitStack() as opened:
        for _ in range(MAX_CONNECTIONS):
            busy = opened.enter_context(server.connect())
            busy.sendall(server.head("GET", "/v1/runs/absent?wait=20"))
        await asyncio.sleep(5 * PAUSE_S)
        assert (await server.get("/healthz")).status == 200
        response = await server.get("/v1/results")
        assert (response.status, response.body["error"]["code"]) == (503, "unavailable")
        assert "Retry-After" in response.headers
        silent = [opened.enter_context(server.connect()) for _ in range(2 * HEADROOM)]
        await asyncio.sleep(PAUSE_S)
        assert (await server.get("/healthz")).status == 200
        assert sum([await is_closed(connection) for connection in silent]) >= HEADROOM
    await asyncio.sleep(5 * PAUSE_S)
    assert (await server.get("/v1/results")).status == 200


@pytest.mark.parametrize("busy", [0, MAX_CONNECTIONS])
async def test_incomplete_bodies_of_rejected_requests_do_not_occupy_the_connections(
    server: RawServer, busy: int
) -> None:
    """The server reads the rest of a rejected body, but other clients have priority."""
    with ExitStack() as opened:
        for _ in range(busy):
            opened.enter_context(server.connect()).sendall(server.head("GET", "/v1/runs/absent?wait=20"))
        await asyncio.sleep(5 * PAUSE_S)
        for _ in range(MAX_CONNECTIONS + HEADROOM):
            incomplete = opened.enter_context(server.connect())
            incomplete.sendall(b"POST /v1/api-keys HTTP/1.1\r\nHost: x\r\nContent-Length: 9\r\n\r\n{")
        await asyncio.sleep(5 * PAUSE_S)
        assert (await server.get("/healthz")).status == 200
        if not busy:
            assert (await server.get("/v1/results")).status == 200


@pytest.mark.parametrize("sent", [b"", b"GET /healthz HTTP/1.1\r\nHost:", b"GET /healthz HTTP/1.1\r\nHost: x\r\n\r\n"])
async def test_idle_connection_is_closed(
    api: Api, database_url: str, monkeypatch: pytest.MonkeyPatch, sent: bytes
) -> None:
    monkeypatch.setitem(OPTIONS, "keepalive_timeout", 0.3)
    async with serving(api, database_url) as server:
        with server.connect() as connection:
            connection.sendall(sent)
            started = time.monotonic()
            while await asyncio.to_thread(connection.recv, 65536):
                pass
    assert time.monotonic() - started < 10


async def is_closed(connection: socket.socket) -> bool:
    connection.settimeout(0.01)
    try:
        return await asyncio.to_thread(connection.recv, 1) == b""
    except TimeoutError:
        return False
    except ConnectionResetError:
        return True
