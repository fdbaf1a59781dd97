"""What comes in by a connection, byte by byte: lines that are too long, and what is no HTTP."""

import asyncio
import socket
from collections.abc import AsyncIterator
from contextlib import suppress
from dataclasses import dataclass
from typing import Any

import orjson
import pytest

from service.api.app import make_app
from service.api.connections import bind, serving
from service.settings import Settings
from tests.api.served import Api

PATIENCE_S = 10


@dataclass
class Answer:
    status: int
    headers: dict[str, str]
    body: Any


@dataclass
class Server:
    port: int
    key: str

    async def send(self, sent: bytes) -> Answer:
        """What is answered, until the server closes the connection."""
        head, _, body = (await asyncio.to_thread(self._exchange, sent)).partition(b"\r\n\r\n")
        status, *lines = head.decode().splitlines()
        headers = dict(line.split(": ", 1) for line in lines)
        return Answer(int(status.split()[1]), headers, orjson.loads(body))

    def _exchange(self, sent: bytes) -> bytes:
        answered = b""
        with socket.create_connection(("127.0.0.1", self.port), PATIENCE_S) as connection:
            connection.sendall(sent)
            with suppress(ConnectionResetError):  # some of what was sent may be unread when the server closes
                while received := connection.recv(65536):
                    answered += received
        return answered

    async def get(self, target: str, *headers: str) -> Answer:
        lines = [
            f"GET {target} HTTP/1.1",
            "Host: x",
            "Connection: close",
            f"Authorization: Bearer {self.key}",
            *headers,
        ]
        return await self.send("\r\n".join([*lines, "", ""]).encode())


@pytest.fixture
async def server(api: Api, database_url: str) -> AsyncIterator[Server]:
    """The application on a socket, as `zof-results api` serves it."""
    (bound,) = bind("127.0.0.1", 0)
    async with serving(make_app(Settings(database_url=database_url, database_pool_size=4)), [bound], 5):
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
    ],
)
async def test_what_is_no_request_is_answered_as_any_error(server: Server, sent: bytes) -> None:
    assert_refused(await server.send(sent))


def assert_refused(answer: Answer, reason: str = "") -> None:
    assert answer.status == 400
    assert answer.headers["Content-Type"] == "application/json"
    assert answer.headers["Server"] == "zof-results"
    assert answer.body["error"]["code"] == "invalid_request"
    assert reason in answer.body["error"]["message"]
    assert "xxx" not in answer.body["error"]["message"]  # nor in the log: it could be a key
    assert answer.body["request_id"] == answer.headers["X-Request-Id"]
