"""A TCP proxy in front of a server. A test closes, resets, delays, or stalls the connections."""

import asyncio
import contextlib
import math
import socket
import struct
from dataclasses import dataclass
from typing import Final, Self
from urllib.parse import urlsplit, urlunsplit

_HOST: Final = "127.0.0.1"
_CHUNK_BYTES: Final = 64 * 1024
_RESET_ON_CLOSE: Final = struct.pack("ii", 1, 0)  # SO_LINGER with 0 s: close() sends RST instead of FIN


@dataclass(eq=False)
class ProxiedConnection:
    """The two connections between which the proxy forwards bytes. A stalled one stays open and forwards nothing."""

    client: asyncio.StreamWriter
    server: asyncio.StreamWriter
    is_stalled: bool

    def close(self, *, reset: bool = False) -> None:
        for writer in (self.client, self.server):
            if reset:
                connected: socket.socket = writer.get_extra_info("socket")
                connected.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _RESET_ON_CLOSE)
            writer.transport.abort()


class UnreliableProxy:
    """A proxy that forwards all bytes unmodified until a test injects a network failure."""

    def __init__(self, url: str) -> None:
        self._parts = urlsplit(url)
        self._connections: set[ProxiedConnection] = set()
        self._tasks: set[asyncio.Task[None]] = set()
        self.delay_s = 0.0  # before each chunk
        self.bytes_per_s = math.inf  # of each connection in each direction
        self.rejects_connections = False
        self.stalls_new_connections = False

    @property
    def url(self) -> str:
        """The URL of the server, with the address of the proxy."""
        port = self._listener.sockets[0].getsockname()[1]
        user, separator, _ = self._parts.netloc.rpartition("@")
        return urlunsplit(self._parts._replace(netloc=f"{user}{separator}{_HOST}:{port}"))

    def close_connections(self, *, reset: bool = False) -> None:
        """Close all connections, with RST if `reset` is true."""
        for connection in list(self._connections):
            if not connection.is_stalled:
                connection.close(reset=reset)

    def stall_connections(self) -> None:
        """Stop forwarding permanently on all connections, which stay half-open. New connections work."""
        for connection in self._connections:
            connection.is_stalled = True

    def close_stalled(self) -> None:
        """Reset the stalled connections, as a network does that works again after a long time."""
        for connection in list(self._connections):
            if connection.is_stalled:
                connection.close(reset=True)

    def resume(self) -> None:
        """Forward the bytes of new connections again, without failures. Stalled connections stay stalled."""
        self.delay_s, self.rejects_connections, self.stalls_new_connections = 0.0, False, False

    async def __aenter__(self) -> Self:
        self._listener = await asyncio.start_server(self._accept, _HOST, 0)
        return self

    async def __aexit__(self, *_: object) -> None:
        self._listener.close()
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        await asyncio.sleep(0)  # lets the transports close

    def _accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.create_task(self._connect_and_forward(reader, writer))
        self._tasks.add(task)
        task.add_done_callback(lambda done: self._finish(done, writer))

    def _finish(self, task: "asyncio.Task[None]", writer: asyncio.StreamWriter) -> None:
        self._tasks.discard(task)
        writer.transport.abort()

    async def _connect_and_forward(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        if self.rejects_connections:
            return
        with contextlib.suppress(OSError):
            server_reader, server_writer = await asyncio.open_connection(self._parts.hostname, self._parts.port)
            connection = ProxiedConnection(writer, server_writer, self.stalls_new_connections)
            self._connections.add(connection)
            try:
                await self._forward_both(connection, reader, server_reader)
            finally:
                self._connections.discard(connection)
                connection.close()

    async def _forward_both(
        self, connection: ProxiedConnection, reader: asyncio.StreamReader, server_reader: asyncio.StreamReader
    ) -> None:
        directions = [
            asyncio.create_task(self._forward(connection, reader, connection.server)),
            asyncio.create_task(self._forward(connection, server_reader, connection.client)),
        ]
        try:
            await asyncio.wait(directions, return_when=asyncio.FIRST_COMPLETED)
        finally:
            for direction in directions:
                direction.cancel()
            await asyncio.gather(*directions, return_exceptions=True)

    async def _forward(
        self, connection: ProxiedConnection, reader: asyncio.StreamReader, writer: asyncio.StreamWriter
    ) -> None:
        """Forward bytes until the sender closes the connection. Return only if the receiver must also learn this."""
        with contextlib.suppress(ConnectionError):
            while data := await reader.read(int(min(_CHUNK_BYTES, self.bytes_per_s))):
                await asyncio.sleep(self.delay_s + len(data) / self.bytes_per_s)
                if connection.is_stalled:
                    break
                writer.write(data)
                await writer.drain()
        if connection.is_stalled:
            await asyncio.get_running_loop().create_future()  # until the proxy closes
