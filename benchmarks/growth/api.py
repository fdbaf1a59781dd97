"""The time per HTTP request, and the memory of the API processes."""

import asyncio
import os
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Final, NamedTuple

import aiohttp
import asyncpg

from benchmarks.cpu import backends_ns, process_ns
from benchmarks.growth.reads import PAGE, Sample
from benchmarks.growth.sizes import memory_mib, private_mib
from service.dev.ports import choose_port
from service.domain.ids import result_id
from service.identity.keys.operations import create_key

_REQUESTS: Final = 600
_CONNECTIONS: Final = 8
_WARM_UP: Final = 80
_START_S: Final = 60.0


class ServedRequests(NamedTuple):
    """The times of requests in ms, the CPU time per request in ms, and memory in MiB.

    `api_mib` is the peak memory of the largest API process, and `backend_mib` the largest private memory of the
    PostgreSQL processes.
    """

    requests_ms: list[float]
    cpu_ms: float
    api_mib: float
    backend_mib: float


def measure_api(url: str, samples: Sequence[Sample], processes: int = 1) -> ServedRequests:
    """Send requests for pages and single results to new API processes."""
    with _api(url, processes) as (parent, port):
        return asyncio.run(_measure(url, samples, parent, port))


@contextmanager
def _api(url: str, processes: int) -> Iterator[tuple[int, int]]:
    """Run the API, and yield the ID of its first process and its port."""
    port = choose_port()
    settings = {"RESULTS_DATABASE_URL": url, "RESULTS_HTTP_PORT": str(port), "RESULTS_RATE_LIMIT": "off",
                "RESULTS_LOG_LEVEL": "error"}  # fmt: skip
    command = [sys.executable, "-m", "service", "api", f"--processes={processes}"]
    process = subprocess.Popen(command, env={**os.environ, **settings})
    try:
        yield process.pid, port
    finally:
        process.terminate()
        process.wait(30)


async def _measure(url: str, samples: Sequence[Sample], parent: int, port: int) -> ServedRequests:
    admin = await asyncpg.connect(url)
    keys = {org_id: (await create_key(admin, org_id, "growth", "viewer")).key for org_id in {s.org_id for s in samples}}
    requests = [
        (path, {"Authorization": f"Bearer {keys[sample.org_id]}"})
        for sample in samples
        for path in (f"/v1/results?limit={PAGE}", f"/v1/results/{result_id(*sample.key)}")
    ]
    async with aiohttp.ClientSession(
        f"http://127.0.0.1:{port}", connector=aiohttp.TCPConnector(limit=_CONNECTIONS)
    ) as http:
        await _wait_until_ready(http)
        await _send(http, requests, _WARM_UP)
        before_ns = await _used_ns(admin, parent)
        times_ms = await _send(http, requests, _REQUESTS)
        used_ns = await _used_ns(admin, parent) - before_ns
    await admin.close()
    api_mib = max(memory_mib(process_id, "VmHWM") for process_id in _tree(parent))
    return ServedRequests(times_ms, used_ns / _REQUESTS / 1e6, api_mib, await private_mib(url, "results_api"))


async def _wait_until_ready(http: aiohttp.ClientSession) -> None:
    deadline = time.monotonic() + _START_S
    while True:
        try:
            async with http.get("/healthz") as response:
                if response.status == 200:
                    return
        except aiohttp.ClientError:
            if time.monotonic() > deadline:
                raise
        await asyncio.sleep(0.1)


async def _send(http: aiohttp.ClientSession, requests: Sequence[tuple[str, dict[str, str]]], count: int) -> list[float]:
    """Send requests over all connections, and return their times."""
    numbers, times_ms = iter(range(count)), []

    async def client() -> None:
        for number in numbers:
            path, headers = requests[number % len(requests)]
            started = time.perf_counter()
            async with http.get(path, headers=headers) as response:
                await response.read()
                response.raise_for_status()
            times_ms.append((time.perf_counter() - started) * 1000)

    await asyncio.gather(*(client() for _ in range(_CONNECTIONS)))
    return times_ms


async def _used_ns(admin: asyncpg.Connection, parent: int) -> int:
    return sum(process_ns(process_id) for process_id in _tree(parent)) + await backends_ns(admin, "results_api")


def _tree(parent: int) -> list[int]:
    """Return a process and its children."""
    return [parent, *map(int, Path(f"/proc/{parent}/task/{parent}/children").read_text().split())]
