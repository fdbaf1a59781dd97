"""Requests to processes of the API or of references, and the CPU time that they use."""

import asyncio
import os
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final, NamedTuple

import asyncpg
import orjson

from benchmarks.cpu import backends_ns, process_ns
from service.dev.ports import choose_port

CONNECTIONS: Final = 8
WARM_UP: Final = 40  # requests
_START_S: Final = 60
_API: Final = ("service", "api")


class Measured(NamedTuple):
    """Requests per second, and the CPU time per request in µs: of the API process, and of PostgreSQL."""

    rate: float
    process_us: float
    postgres_us: float

    @property
    def cpu_us(self) -> float:
        """The CPU time per request. In contrast to the rate, it hardly depends on other programs."""
        return self.process_us + self.postgres_us


class Server(NamedTuple):
    """A server in its own process, and the key for its requests."""

    process_id: int
    port: int
    key: str

    async def get(self, path: str) -> bytes:
        """Return the body of one response."""
        return (await self.read_all([path]))[0]

    async def read_all(self, paths: Sequence[str]) -> list[bytes]:
        """Request each path on one connection, and return the bodies. Raises RuntimeError unless the status is 200."""
        reader, writer = await self.connect()
        bodies = []
        for path in paths:
            request = f"GET {path} HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {self.key}\r\n\r\n"
            writer.write(request.encode())
            head = await reader.readuntil(b"\r\n\r\n")
            length = int(head.lower().split(b"content-length: ")[1].split(b"\r\n")[0])
            bodies.append(await reader.readexactly(length))
            if not head.startswith(b"HTTP/1.1 200"):
                raise RuntimeError(f"{path}: {(head + bodies[-1]).decode()}")
        writer.close()
        return bodies

    async def connect(self) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        """Return a connection as soon as the server accepts one."""
        deadline = time.monotonic() + _START_S
        while time.monotonic() < deadline:
            try:
                return await asyncio.open_connection("127.0.0.1", self.port, limit=2**20)
            except OSError:
                await asyncio.sleep(0.1)
        raise TimeoutError(self.port)


@contextmanager
def serving(
    url: str, key: str = "", module: Sequence[str] = _API, code: Path | None = None, **settings: str
) -> Iterator[Server]:
    """Run a server while the block runs: by default, one API process of this checkout, or of other code."""
    port = choose_port()
    with server_process(url, port, module, code, **settings) as process:
        yield Server(process.pid, port, key)


@contextmanager
def server_process(
    url: str, port: int, module: Sequence[str] = _API, code: Path | None = None, **settings: str
) -> Iterator[subprocess.Popen[bytes]]:
    """Run the process of a server while the block runs."""
    environment = {**os.environ, "RESULTS_DATABASE_URL": url, "RESULTS_HTTP_PORT": str(port),
                   "RESULTS_RATE_LIMIT": "off", "RESULTS_LOG_LEVEL": "error", **settings}  # fmt: skip
    process = subprocess.Popen([sys.executable, "-m", *module], env=environment, cwd=code)
    try:
        yield process
    finally:
        process.terminate()
        process.wait(30)


async def walk(server: Server, path: str, pages: int) -> list[tuple[str, list[dict[str, str]]]]:
    """Return the paths of the pages after the first one, each with the items of the page before it."""
    found: list[tuple[str, list[dict[str, str]]]] = []
    next_path = path
    while len(found) < pages:
        page = orjson.loads(await server.get(next_path))
        if page["next_cursor"] is None:
            break
        next_path = f"{path}&starting_after={page['next_cursor']}"
        found.append((next_path, page["data"]))
    return found


async def warm_up(sides: Mapping[str, tuple[Server, Sequence[str]]]) -> dict[str, list[Any]]:
    """Send the first WARM_UP paths of each side, and return the objects of the responses."""
    bodies = {name: await server.read_all(paths[:WARM_UP]) for name, (server, paths) in sides.items()}
    return {name: [_objects(orjson.loads(body)) for body in of_side] for name, of_side in bodies.items()}


def _objects(document: dict[str, Any]) -> Any:
    """Return the objects of a list, or the document of a single object."""
    return document.get("data", document)


async def alternate(
    sides: Mapping[str, tuple[Server, Sequence[str]]], rounds: int, admin: asyncpg.Connection
) -> dict[str, list[Measured]]:
    """Send all paths of each side once, in alternating rounds, so that the same machine load affects all sides.

    The first WARM_UP paths aren't sent, because `warm_up` has sent them.
    """
    measured: dict[str, list[Measured]] = {name: [] for name in sides}
    for number in range(rounds):
        for name in list(sides)[:: 1 if number % 2 else -1]:
            server, paths = sides[name]
            of_round = paths[WARM_UP + number :: rounds]
            measured[name].append(await _load(server, of_round, admin))
    return measured


async def _load(server: Server, paths: Sequence[str], admin: asyncpg.Connection) -> Measured:
    """Send requests over persistent connections."""
    before, started = await _cpu_times(server, admin), time.perf_counter()
    await asyncio.gather(*(server.read_all(paths[first::CONNECTIONS]) for first in range(CONNECTIONS)))
    elapsed, after = time.perf_counter() - started, await _cpu_times(server, admin)
    process, postgres = (end - start for start, end in zip(before, after, strict=True))
    return Measured(len(paths) / elapsed, process / len(paths) / 1e3, postgres / len(paths) / 1e3)


async def _cpu_times(server: Server, admin: asyncpg.Connection) -> tuple[int, int]:
    """Return the CPU time in ns of the server, and of all PostgreSQL processes with the role of the API."""
    return process_ns(server.process_id), await backends_ns(admin, "results_api")
