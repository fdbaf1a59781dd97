"""Endpoints of webhooks on loopback: well-behaved ones that note what they get, and ones that misbehave."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

import orjson
from aiohttp import web
from aiohttp.test_utils import TestServer

Misbehave = Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]]


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
    """Answers the statuses in turn, the last one for ever."""

    statuses: list[int] = field(default_factory=lambda: [200])
    answer_headers: dict[str, str] = field(default_factory=dict)
    body: bytes = b"thanks"
    delay_s: float = 0
    received: list[Received] = field(default_factory=list)
    connections: set[int] = field(default_factory=set)
    most_at_once: int = 0
    url: str = ""
    _now: int = 0

    async def take(self, request: web.Request) -> web.Response:
        self._now += 1
        self.most_at_once = max(self.most_at_once, self._now)
        self.connections.add(id(request.transport))
        self.received.append(Received(request.headers.copy(), await request.read()))
        await asyncio.sleep(self.delay_s)
        self._now -= 1
        status = self.statuses.pop(0) if len(self.statuses) > 1 else self.statuses[0]
        return web.Response(status=status, headers=self.answer_headers, body=self.body)

    def event_ids(self) -> set[str]:
        return {one.headers["webhook-id"] for one in self.received}


@asynccontextmanager
async def receiving(*statuses: int, **behaviour: Any) -> AsyncIterator[Receiver]:
    receiver = Receiver(list(statuses) or [200], **behaviour)
    app = web.Application(client_max_size=2**20)
    app.router.add_route("*", "/hook", receiver.take)
    async with TestServer(app) as server:
        receiver.url = str(server.make_url("/hook"))
        yield receiver


@asynccontextmanager
async def misbehaving(behave: Misbehave) -> AsyncIterator[str]:
    """The URL of a server that does this with each connection."""

    async def connected(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            await reader.readuntil(b"\r\n\r\n")
            await behave(reader, writer)
        except (ConnectionError, asyncio.IncompleteReadError):
            pass
        finally:
            writer.close()

    server = await asyncio.start_server(connected, "127.0.0.1", 0)
    try:
        yield f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}/hook"
    finally:
        server.close()


async def say_nothing(reader: asyncio.StreamReader, _: asyncio.StreamWriter) -> None:
    await reader.read()
    await asyncio.sleep(60)


async def dribble(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 1000\r\n\r\n")
    for _second in range(60):
        writer.write(b".")
        await writer.drain()
        await asyncio.sleep(1)


async def talk_without_end(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    writer.write(b"HTTP/1.1 200 OK\r\n\r\n")
    while True:
        writer.write(b"more " * 1_000)
        await writer.drain()


async def hang_up_in_the_middle(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 1000\r\n\r\nhalf")
    await writer.drain()
