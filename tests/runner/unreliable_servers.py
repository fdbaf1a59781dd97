"""Servers that misbehave in one way each."""

import asyncio
import contextlib
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from typing import Final

Behavior = Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]]

_FOREVER_S: Final = 1_000
_OK: Final = b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: "


def _respond(status: str, body: bytes = b'{"error": {"code": "x", "message": "no", "param": null}}') -> Behavior:
    async def respond(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        head = f"HTTP/1.1 {status}\r\nContent-Length: {len(body)}\r\nConnection: close\r\n\r\n"
        writer.write(head.encode() + body)
        await writer.drain()
        await reader.read()

    return respond


def _send_slowly(text: bytes) -> Behavior:
    async def send(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        for byte in text:
            writer.write(bytes([byte]))
            await writer.drain()
            await asyncio.sleep(1)

    return send


async def _hang(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    await asyncio.sleep(_FOREVER_S)


async def _close(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    await reader.read(100)
    writer.transport.abort()


async def _close_response(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    await reader.readuntil(b"\r\n\r\n")
    writer.write(_OK + b'100\r\n\r\n{"id":')
    await writer.drain()


async def _send_garbage(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    writer.write(bytes(range(256)) * 10)
    await writer.drain()


BEHAVIORS: Final[Mapping[str, Behavior]] = {
    "hang": _hang,
    "close": _close,
    "close in a response": _close_response,
    "garbage": _send_garbage,
    "slow head": _send_slowly(b"HTTP/1.1 200 OK\r\nX-Long: " + b"x" * _FOREVER_S),
    "slow body": _send_slowly(_OK + b"9999\r\n\r\n" + b" " * _FOREVER_S),
    "500": _respond("500 Internal Server Error"),
    "503": _respond("503 Service Unavailable\r\nRetry-After: 1"),
    "503 for an hour": _respond("503 Service Unavailable\r\nRetry-After: 3600"),
    "429": _respond("429 Too Many Requests"),
    "400": _respond("400 Bad Request"),
    "413 without JSON": _respond("413 Content Too Large", b"<html>"),
    "redirect": _respond("302 Found\r\nLocation: /", b""),
    "HTML": _respond("200 OK", b"<html>"),
    "list": _respond("200 OK", b"[]"),
    "object": _respond("200 OK", b"{}"),
    "null": _respond("202 Accepted", b"null"),
}


@contextlib.asynccontextmanager
async def serving(behavior: Behavior) -> AsyncIterator[str]:
    """Run a server, and yield its URL."""

    async def handle(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        tasks.add(asyncio.current_task())
        writers.append(writer)
        with contextlib.suppress(OSError, asyncio.IncompleteReadError):
            await behavior(reader, writer)
        writer.close()

    tasks: set[asyncio.Task[None] | None] = set()
    writers: list[asyncio.StreamWriter] = []
    server = await asyncio.start_server(handle, "127.0.0.1", 0)
    try:
        yield f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}"
    finally:
        server.close()
        for task in filter(None, tasks):
            task.cancel()
        await asyncio.gather(*filter(None, tasks), return_exceptions=True)
        for writer in writers:
            writer.transport.abort()
        await asyncio.sleep(0)  # the transports close in the next step of the loop
