"""A program for a private network namespace, whose network stops between a connection and its server.

Prints the number of seconds after which the service noticed it. The server has a Unix socket outside the namespace.
Usage: python -m tests.half_open_network database|broker URL SOCKET
"""

import asyncio
import subprocess
import sys
import time
from collections.abc import Awaitable, Callable
from urllib.parse import urlsplit

import uvloop

from consumers.broker import connect
from service.database import database

BROKER_HEARTBEAT_S = 60  # longer than in the service, so that it does not detect the loss first
MAX_S = 90
Streams = tuple[asyncio.StreamReader, asyncio.StreamWriter]


def forward_to(open_server: Callable[[], Awaitable[Streams]]) -> Callable[..., Awaitable[None]]:
    """Return a function that connects a client to the server."""

    async def copy(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while data := await reader.read(2**16):
            writer.write(data)
        writer.close()

    async def forward(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        server_reader, server_writer = await open_server()
        await asyncio.gather(copy(reader, server_writer), copy(server_reader, writer), return_exceptions=True)

    return forward


async def wait_for_statement(url: str, disconnect: Callable[[], None]) -> None:
    pool = await database.open_pool(url, "results_worker", 1)
    async with pool.acquire() as connection:
        statement = asyncio.create_task(connection.execute("SELECT pg_sleep(100)"))
        await asyncio.sleep(0.5)
        disconnect()
        await asyncio.wait({statement})


async def wait_for_broker(url: str, disconnect: Callable[[], None]) -> None:
    connection = await connect(f"{url}?heartbeat={BROKER_HEARTBEAT_S}")
    channel = await connection.channel()
    disconnect()
    await asyncio.wait({asyncio.ensure_future(channel.closed())})


WAITS: dict[str, Callable[[str, Callable[[], None]], Awaitable[None]]] = {
    "database": wait_for_statement,
    "broker": wait_for_broker,
}


async def main(name: str, url: str, path: str) -> None:
    started = 0.0

    def disconnect() -> None:
        nonlocal started
        _set_loopback("down")
        started = time.monotonic()

    _set_loopback("up")
    server = await asyncio.start_server(forward_to(lambda: asyncio.open_unix_connection(path)), "127.0.0.1", 0)
    parts = urlsplit(url)
    address = f"{parts.netloc.rpartition('@')[0]}@127.0.0.1:{server.sockets[0].getsockname()[1]}"
    await WAITS[name](parts._replace(netloc=address.removeprefix("@")).geturl(), disconnect)
    print(time.monotonic() - started)


def _set_loopback(state: str) -> None:
    subprocess.run(["ip", "link", "set", "lo", state], check=True)


if __name__ == "__main__":
    uvloop.run(asyncio.wait_for(main(*sys.argv[1:]), MAX_S))
