"""What comes in by a connection, byte by byte: lines that are too long, and what is no HTTP."""

import asyncio
import re
import socket
import struct
import time
from collections.abc import AsyncIterator
from contextlib import suppress
from dataclasses import dataclass
from typing import Any

import orjson
import pytest
from structlog.testing import capture_logs

from service.api.app import make_app
from service.api.http import bodies
from service.api.server.connections import bind_sockets, serve_app
from service.settings import Settings
from tests.api.served import Api

TIMEOUT_S = 10
PAUSE_S = 0.1
TAKE_BODIES = [
    ("POST", "/v1/api-keys"),
    ("POST", "/v1/runs/run_1/report?project_id=shop"),
    ("DELETE", "/v1/runs/run_1"),
]


@dataclass
class Answer:
    status: int
    headers: dict[str, str]
    body: Any


@dataclass
class Server:
    port: int
    key: str

    async def send(self, *pieces: bytes) -> Answer:
        """What is answered. Pieces go one by one."""
        head, _, body = (await asyncio.to_thread(self._exchange, pieces)).partition(b"\r\n\r\n")
        status, *lines = head.decode().splitlines()
        headers = dict(line.split(": ", 1) for line in lines)
        return Answer(int(status.split()[1]), headers, orjson.loads(body))

    def _exchange(self, pieces: tuple[bytes, ...]) -> bytes:
        answered = b""
        with self.connect() as connection:
            for piece in pieces:
                connection.sendall(piece)
                time.sleep(PAUSE_S if len(pieces) > 1 else 0)
            with suppress(ConnectionResetError):  # some of what was sent may be unread when the server closes
                while not is_whole(answered) and (received := connection.recv(65536)):
                    answered += received
        return answered

    def connect(self) -> socket.socket:
        return socket.create_connection(("127.0.0.1", self.port), TIMEOUT_S)

    def head(self, method: str, target: str, *headers: str) -> bytes:
        """A request up to its body."""
        lines = [
            f"{method} {target} HTTP/1.1",
            "Host: x",
            "Connection: close",
            f"Authorization: Bearer {self.key}",
            *headers,
        ]
        return "\r\n".join([*lines, "", ""]).encode()

    async def get(self, target: str, *headers: str) -> Answer:
        return await self.send(self.head("GET", target, *headers))


def is_whole(answer: bytes) -> bool:
    """Whether it has as many bytes as it says. A server may stay for a rest of the request that it has answered."""
    head, ended, body = answer.partition(b"\r\n\r\n")
    size = re.search(rb"Content-Length: (\d+)", head)
    return bool(ended and size and len(body) >= int(size[1]))


@pytest.fixture
async def server(api: Api, database_url: str) -> AsyncIterator[Server]:
    """The application on a socket, as `zof-results api` serves it."""
    (bound,) = bind_sockets("127.0.0.1", 0)
    async with serve_app(make_app(Settings(database_url=database_url, database_pool_size=4)), [bound], 5):
        yield Server(bound.getsockname()[1], api.key)


@pytest.mark.parametrize("length", [3_000, 20_000, 60_000])
async def test_a_parameter_that_is_too_long_is_named(server: Server, length: int) -> None:
    answer = await server.get(f"/v1/results?branch={'x' * length}")
    assert (answer.status, answer.body["error"]["code"]) == (400, "invalid_request")
    assert answer.body["error"]["param"] == "branch"


async def test_a_request_line_beyond_all_bounds_is_answered_as_any_error(server: Server) -> None:
    assert_refused(await server.get(f"/v1/results?branch={'x' * 100_000}"), "65536")


async def test_a_header_beyond_all_bounds_is_answered_as_any_error(server: Server) -> None:
    assert_refused(await server.get("/v1/results", f"If-None-Match: {'x' * 10_000}"), "8190")


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
async def test_what_is_no_request_is_answered_as_any_error(server: Server, sent: bytes) -> None:
    assert_refused(await server.send(sent))


async def test_an_address_that_is_no_url_is_said_to_be_none(server: Server) -> None:
    assert_refused(await server.send(b"GET http://x:99999/v1/runs HTTP/1.1\r\nHost: x\r\n\r\n"), "the URL is invalid")


@pytest.mark.parametrize("chunk", [b"", b"zz\r\n", b"0\r\nno colon\r\n\r\n"])
@pytest.mark.parametrize(("method", "target"), TAKE_BODIES)
async def test_a_body_of_which_no_more_comes_is_answered(
    server: Server, method: str, target: str, chunk: bytes, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(bodies, "_READ_TIMEOUT_S", 0.5)
    head = server.head(method, target, "Transfer-Encoding: chunked", "Idempotency-Key: one")
    assert_refused(await server.send(head, b"5\r\nfirst\r\n", chunk), "didn't arrive within 0.5 s")


async def test_a_form_of_which_no_more_comes_is_answered(server: Server, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(bodies, "_READ_TIMEOUT_S", 0.5)
    form = "Content-Type: multipart/form-data; boundary=frontier"
    head = server.head("POST", "/v1/runs/run_1/report?project_id=shop", form, "Content-Length: 1000")
    assert_refused(await server.send(head + b"--frontier\r\n"), "didn't arrive within 0.5 s")


async def test_a_body_that_the_client_holds_back_is_asked_for(server: Server) -> None:
    head = server.head("POST", "/v1/api-keys", "Content-Length: 2", "Expect: 100-continue")
    with server.connect() as connection:
        connection.sendall(head)
        assert await asyncio.to_thread(connection.recv, 65536) == b"HTTP/1.1 100 Continue\r\n\r\n"
        connection.sendall(b"{}")
        assert (await asyncio.to_thread(connection.recv, 65536)).startswith(b"HTTP/1.1 400")


@pytest.mark.parametrize(("method", "target"), TAKE_BODIES)
async def test_who_leaves_before_the_end_of_a_body_is_no_fault_of_ours(
    server: Server, method: str, target: str
) -> None:
    with capture_logs() as logs:
        for framing, start in (("Content-Length: 100", b"{"), ("Transfer-Encoding: chunked", b"1\r\n{\r\n")):
            with server.connect() as connection:
                connection.sendall(server.head(method, target, framing, "Idempotency-Key: one") + start)
                await asyncio.sleep(PAUSE_S)
                connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            await asyncio.sleep(PAUSE_S)
    assert [line["event"] for line in logs] == []


def assert_refused(answer: Answer, reason: str = "") -> None:
    assert answer.status == 400
    assert answer.headers["Content-Type"] == "application/json"
    assert answer.headers["Server"] == "zof-results"
    assert answer.body["error"]["code"] == "invalid_request"
    assert reason in answer.body["error"]["message"]
    assert "xxx" not in answer.body["error"]["message"]  # nor in the log: it could be a key
    assert answer.body["request_id"] == answer.headers["X-Request-Id"]
