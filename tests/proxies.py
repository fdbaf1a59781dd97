"""A TCP proxy that can stall its connections, like a network that drops packets without closing connections."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from urllib.parse import urlsplit, urlunsplit


class StallingProxy:
    """Forwards connections. A stalled connection stays open, but nothing is forwarded any more."""

    def __init__(self, host: str, port: int) -> None:
        self._target = host, port
        self._flowing = asyncio.Event()
        self._flowing.set()

    def stall_connections(self) -> None:
        """Stall all open connections for good. New connections work."""
        self._flowing.clear()
        self._flowing = asyncio.Event()
        self._flowing.set()

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        flowing = self._flowing
        target_reader, target_writer = await asyncio.open_connection(*self._target)
        try:
            async with asyncio.TaskGroup() as group:
                group.create_task(_forward(reader, target_writer, flowing))
                group.create_task(_forward(target_reader, writer, flowing))
        except* OSError:
            pass  # one end reset its connection
        finally:
            writer.transport.abort()
            target_writer.transport.abort()


async def _forward(reader: asyncio.StreamReader, writer: asyncio.StreamWriter, flowing: asyncio.Event) -> None:
    while data := await reader.read(2**16):
        await flowing.wait()
        writer.write(data)
        await writer.drain()
    raise ConnectionResetError


@asynccontextmanager
async def stalling_proxy(url: str) -> AsyncIterator[tuple[StallingProxy, str]]:
    """Provide a proxy before the server of a URL, and the URL of the proxy."""
    parts = urlsplit(url)
    proxy = StallingProxy(parts.hostname or "", parts.port or 0)
    serving: set[asyncio.Task[None]] = set()

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        serving.add(task)
        await proxy.serve(reader, writer)

    server = await asyncio.start_server(serve, "127.0.0.1", 0)
    port = server.sockets[0].getsockname()[1]
    netloc = f"{parts.netloc.rpartition('@')[0]}@127.0.0.1:{port}"
    try:
        yield proxy, urlunsplit(parts._replace(netloc=netloc))
    finally:
        server.close()
        for task in serving:
            task.cancel()
        await asyncio.gather(*serving, return_exceptions=True)
