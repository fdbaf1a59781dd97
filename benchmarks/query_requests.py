"""The requests per second of the query benchmark: of the service, of version 0.9.0, and of bare handlers."""

import asyncio
import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from typing import Final, NamedTuple

import asyncpg

from benchmarks.cpu import backends_ns, process_ns
from service.dev.ports import choose_port
from service.domain.ids import OrgId
from service.usecases.administration.keys import create_key

ORG = OrgId(1)
REQUESTS: Final = 1_000
ROUNDS: Final = 7
CONNECTIONS: Final = 8
_START_S: Final = 60
_OTHER_LISTS: Final = {
    "list of 100 failures": "/v1/results?limit=100&status=failed",
    "list of 100 runs": "/v1/runs?limit=100",
}
SERVICE: Final = "service"
REFERENCE, SAME_SQL, NARROW = "version 0.9.0", "bare handler, same SQL", "bare handler, only the rows of results"


Choose = Callable[[Iterable[float]], float]


class Measured(NamedTuple):
    """Requests per second, and the CPU time per request in µs: of the API process, and of PostgreSQL."""

    rate: float
    process_us: float
    postgres_us: float

    @property
    def cpu_us(self) -> float:
        """The CPU time per request. In contrast to the rate, it hardly depends on other programs."""
        return self.process_us + self.postgres_us


class MeasuredRequests(NamedTuple):
    """The measurements of the list and of get-by-ID, by handler."""

    page: dict[str, Measured]
    one: dict[str, Measured]


class Server(NamedTuple):
    """A server in its own process, and the connection that finds the processes of PostgreSQL."""

    process_id: int
    port: int
    admin: asyncpg.Connection


@contextmanager
def serving(module: str, url: str, admin: asyncpg.Connection) -> Iterator[Server]:
    """Run a server in its own process."""
    port = choose_port()
    with server_process(module, url, port) as process:
        yield Server(process.pid, port, admin)


@contextmanager
def server_process(module: str, url: str, port: int) -> Iterator[subprocess.Popen[bytes]]:
    """Run the process of a server while the block runs."""
    environment = {"RESULTS_DATABASE_URL": url, "RESULTS_HTTP_PORT": str(port), "RESULTS_RATE_LIMIT": "off",
                   "RESULTS_LOG_LEVEL": "warning", "PYTHONPATH": ".", "PATH": "/usr/bin:/bin"}  # fmt: skip
    process = subprocess.Popen([sys.executable, "-m", module], env=environment)
    try:
        yield process
    finally:
        process.terminate()
        process.wait(30)


async def measure_requests(url: str) -> None:
    """Measure all handlers, and print the ratio of the service to each reference."""
    measured = await compare_requests(url)
    _print("list of 100", measured.page, {REFERENCE: 2.5, SAME_SQL: 0.7, NARROW: 0.5})
    _print("by ID", measured.one, {REFERENCE: 1.5, SAME_SQL: 0.7})
    for name, handlers in (await compare_other_lists(url)).items():
        _print(name, handlers, {REFERENCE: 1.5})


async def compare_requests(
    url: str, rounds: int = ROUNDS, requests: int = REQUESTS, choose: Choose = statistics.median
) -> MeasuredRequests:
    """Measure all handlers alternately, so that all of them run under the same machine load.

    `choose` selects a value of all rounds.
    """
    connection = await asyncpg.connect(url)
    key = (await create_key(connection, ORG, "benchmark", "viewer")).key
    row = await connection.fetchrow("SELECT result_id(run_key, case_key) FROM results WHERE org_id = $1 LIMIT 1", ORG)
    assert row is not None
    with (
        serving("benchmarks.query_service", url, connection) as service,
        serving("benchmarks.query_bare", url, connection) as bare,
        serving("benchmarks.query_reference", url, connection) as reference,
    ):
        page, one = "/v1/results?limit=100", f"/v1/results/{row[0]}"
        handlers = {
            SERVICE: (service, page, key),
            REFERENCE: (reference, page, key),
            SAME_SQL: (bare, page, key),
            NARROW: (bare, "/narrow", key),
        }
        pages = await _alternate(handlers, rounds, requests, choose)
        handlers = {name: (server, one, key) for name, (server, *_) in handlers.items() if name != NARROW}
        measured = MeasuredRequests(pages, await _alternate(handlers, rounds, requests, choose))
    await connection.close()
    return measured


async def compare_other_lists(
    url: str, rounds: int = ROUNDS, requests: int = REQUESTS, choose: Choose = statistics.median
) -> dict[str, dict[str, Measured]]:
    """Measure further lists of the service and of version 0.9.0."""
    connection = await asyncpg.connect(url)
    key = (await create_key(connection, ORG, "benchmark", "viewer")).key
    with (
        serving("benchmarks.query_service", url, connection) as service,
        serving("benchmarks.query_reference", url, connection) as reference,
    ):
        measured = {}
        for name, path in _OTHER_LISTS.items():
            handlers = {SERVICE: (service, path, key), REFERENCE: (reference, path, key)}
            measured[name] = await _alternate(handlers, rounds, requests, choose)
    await connection.close()
    return measured


async def _alternate(
    handlers: dict[str, tuple[Server, str, str]], rounds: int, requests: int, choose: Choose
) -> dict[str, Measured]:
    """Return the chosen values of each handler."""
    measured = [{name: await _load(*handler, requests) for name, handler in handlers.items()} for _ in range(rounds)]
    return {
        name: Measured(*(choose(column) for column in zip(*(one[name] for one in measured), strict=True)))
        for name in handlers
    }


def _print(name: str, measured: dict[str, Measured], budgets: dict[str, float]) -> None:
    """Print the ratio of the service to each reference."""
    service = measured[SERVICE]
    print(f"{name}: {_describe(service)}")
    for other, budget in budgets.items():
        rate, cpu = service.rate / measured[other].rate, measured[other].cpu_us / service.cpu_us
        print(f"  {other}: {_describe(measured[other])}; ratio {rate:.2f} (budget {budget}), by CPU time {cpu:.2f}")


def _describe(measured: Measured) -> str:
    cpu = f"{measured.process_us:.0f} + {measured.postgres_us:.0f} µs"
    return f"{measured.rate:,.0f} requests/s, CPU time of process and PostgreSQL {cpu}"


async def _load(server: Server, path: str, key: str, requests: int) -> Measured:
    """Send requests over persistent connections."""
    request = f"GET {path} HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {key}\r\n\r\n".encode()

    async def client(count: int) -> None:
        reader, writer = await _connect(server.port)
        for _ in range(count):
            writer.write(request)
            head = await reader.readuntil(b"\r\n\r\n")
            assert head.startswith(b"HTTP/1.1 200"), head
            length = int(head.lower().split(b"content-length: ")[1].split(b"\r\n")[0])
            await reader.readexactly(length)
        writer.close()

    await client(50)
    before, started = await _cpu_times(server), time.perf_counter()
    await asyncio.gather(*(client(requests // CONNECTIONS) for _ in range(CONNECTIONS)))
    elapsed, after = time.perf_counter() - started, await _cpu_times(server)
    process, postgres = (end - start for start, end in zip(before, after, strict=True))
    return Measured(requests / elapsed, process / requests / 1e3, postgres / requests / 1e3)


async def _cpu_times(server: Server) -> tuple[int, int]:
    """Return the CPU time in ns of the API process, and of all PostgreSQL processes with the role of the API."""
    return process_ns(server.process_id), await backends_ns(server.admin, "results_api")


async def _connect(port: int) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
    """Return a connection as soon as the server accepts one."""
    deadline = time.monotonic() + _START_S
    while time.monotonic() < deadline:
        try:
            return await asyncio.open_connection("127.0.0.1", port, limit=2**20)
        except OSError:
            await asyncio.sleep(0.1)
    raise TimeoutError(port)
