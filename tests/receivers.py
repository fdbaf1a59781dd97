"""Webhook endpoints on loopback: receivers that record their requests, and servers that misbehave."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

import orjson
from aiohttp import web
from aiohttp.test_utils import TestServer

Misbehavior = Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]]


@dataclass
class Received:
    headers: Mapping[str, str]
    body: bytes

    @property
    def event(self) -> dict[str, Any]:
        event: dict[str, Any] = orjson.loads(self.body)
        return event


@dataclass
class Receiver:
    """Responds with each of the statuses in turn, then with the last one indefinitely."""

    statuses: list[int] = field(default_factory=lambda: [200])
    response_headers: dict[str, str] = field(default_factory=dict)
    body: bytes = b"thanks"
    delay_s: float = 0
    received: list[Received] = field(default_factory=list)
    connections: set[int] = field(default_factory=set)
    max_concurrent: int = 0
    url: str = ""
    _concurrent: int = 0

    async def receive(self, request: web.Request) -> web.Response:
        self._concurrent += 1
        self.max_concurrent = max(self.max_concurrent, self._concurrent)
        self.connections.add(id(request.transport))
        self.received.append(Received(request.headers.copy(), await request.read()))
        await asyncio.sleep(self.delay_s)
        self._concurrent -= 1
        status = self.statuses.pop(0) if len(self.statuses) > 1 else self.statuses[0]
        return web.Response(status=status, headers=self.response_headers, body=self.body)

    def event_ids(self) -> set[str]:
        return {received.headers["webhook-id"] for received in self.received}


@asynccontextmanager
async def receiving(*statuses: int, **behavior: Any) -> AsyncIterator[Receiver]:
    receiver = Receiver(list(statuses) or [200], **behavior)
    app = web.Application(client_max_size=2**20)
    app.router.add_route("*", "/hook", receiver.receive)
    async with TestServer(app) as server:
        receiver.url = str(server.make_url("/hook"))
        yield receiver


@asynccontextmanager
async def misbehaving(misbehave: Misbehavior) -> AsyncIterator[str]:
    """Yield the URL of a server that reads the head of each request and then misbehaves."""

    async def connected(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            await reader.readuntil(b"\r\n\r\n")
            await misbehave(reader, writer)
        except (ConnectionError, asyncio.IncompleteReadError):
            pass
        finally:
            writer.close()

    server = await asyncio.start_server(connected, "127.0.0.1", 0)
    try:
        yield f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}/hook"
    finally:
        server.close()


async def never_respond(reader: asyncio.StreamReader, _: asyncio.StreamWriter) -> None:
    await reader.read()
    await asyncio.sleep(60)


async def respond_slowly(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 1000\r\n\r\n")
    for _second in range(60):
        writer.write(b".")
        await writer.drain()
        await asyncio.sleep(1)


async def respond_without_end(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    writer.write(b"HTTP/1.1 200 OK\r\n\r\n")
    while True:
        writer.write(b"more " * 1_000)
        await writer.drain()


async def close_mid_response(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 1000\r\n\r\nhalf")
    await writer.drain()
