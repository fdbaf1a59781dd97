"""The load of a noisy organization: the largest allowed requests of each kind, bounded in number."""

import asyncio
import gzip
import multiprocessing
import os
import time
from collections import Counter
from collections.abc import AsyncIterator, Coroutine, Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final, Literal, get_args
from uuid import uuid4

import aio_pika
import aiohttp
import orjson
import uvloop

from consumers.topology import RUN_COMPLETED, Topology
from service.reports.model import MAX_REPORT_ROWS

Kind = Literal["streams", "exports", "reports", "uploads", "large-events", "small-events", "webhooks"]

ORGANIZATION: Final = "noisy"
KINDS: Final[tuple[Kind, ...]] = get_args(Kind)
KEYS: Final = 5
STREAMS: Final = 1_000
EXPORTS: Final = 100
REPORTS: Final = 4
UPLOADS_PER_KEY: Final = 16
WEBHOOKS: Final = 100
LARGE_EVENTS: Final = 20
SMALL_EVENTS: Final = 200
RESULTS_OF_LARGE_EVENT: Final = 20_000  # with their names, about 4 MiB
LABELS: Final = {f"label-{number:03}": "x" * 149 for number in range(100)}  # the largest number and total length

_NICE: Final = 10  # of their session: clients usually run on other machines, so they shouldn't compete with the service
_LARGE_EVENT_INTERVAL_S: Final = 1.0
_SMALL_EVENT_INTERVAL_S: Final = 0.1
_ESTABLISH_TIMEOUT_S: Final = 60.0
_POLL_S: Final = 0.2
_REQUESTS: Final[Mapping[Kind, int]] = {"streams": STREAMS, "exports": EXPORTS, "reports": REPORTS}
_LARGE: Final = f"event of {RESULTS_OF_LARGE_EVENT} results: confirmed"
_SLOW_CHUNK: Final = b" " * 8192  # per second, which is faster than the minimum rate

_spawn = multiprocessing.get_context("spawn")


@dataclass(frozen=True)
class NoiseTargets:
    """The kinds of load, and the addresses and keys that the load uses.

    `hanging_port` is the port of webhooks that never respond.
    """

    kinds: frozenset[Kind]
    api_url: str
    amqp_url: str
    keys: list[str]
    report: Path
    hanging_port: int


@dataclass
class Noise:
    """The load of one process, and the number of its requests by kind and outcome."""

    targets: NoiseTargets
    counts: Any
    outcomes: Counter[str] = field(default_factory=Counter)

    async def run(self) -> None:
        """Send everything concurrently until the process is terminated."""
        await asyncio.start_server(_hang, "127.0.0.1", self.targets.hanging_port)
        connector = aiohttp.TCPConnector(limit=0)
        async with aiohttp.ClientSession(self.targets.api_url, connector=connector, timeout=_NO_TIMEOUT) as http:
            loads: dict[Kind, Iterable[Coroutine[Any, Any, None]]] = {
                "streams": self._streams(http),
                "exports": self._exports(http),
                "reports": self._reports(http),
                "uploads": self._slow_uploads(http),
                "large-events": self._events(LARGE_EVENTS, _LARGE_EVENT_INTERVAL_S, RESULTS_OF_LARGE_EVENT),
                "small-events": self._events(SMALL_EVENTS, _SMALL_EVENT_INTERVAL_S, 1),
            }
            selected = [one for kind, load in loads.items() if kind in self.targets.kinds for one in load]
            await asyncio.gather(*selected, self._report_counts())

    def _streams(self, http: aiohttp.ClientSession) -> Iterator[Coroutine[Any, Any, None]]:
        for number in range(STREAMS):
            yield self._request(http, number, "streams", "GET", "/v1/events/stream")

    def _exports(self, http: aiohttp.ClientSession) -> Iterator[Coroutine[Any, Any, None]]:
        for number in range(EXPORTS):
            yield self._request(http, number, "exports", "POST", "/v1/results/export", json={"format": "json"})

    def _reports(self, http: aiohttp.ClientSession) -> Iterator[Coroutine[Any, Any, None]]:
        body = self.targets.report.read_bytes()
        for number in range(REPORTS):
            yield self._request(http, number, "reports", "POST", _upload_path(), data=body)

    def _slow_uploads(self, http: aiohttp.ClientSession) -> Iterator[Coroutine[Any, Any, None]]:
        for number in range(UPLOADS_PER_KEY * KEYS):
            yield self._slow_upload(http, number)

    def _events(self, events: int, interval_s: float, results: int) -> Iterator[Coroutine[Any, Any, None]]:
        yield self._publish(events, interval_s, results)

    async def _slow_upload(self, http: aiohttp.ClientSession, number: int) -> None:
        """Upload after the reports, because the slow uploads occupy all slots of the keys."""
        await self._wait_for_responses("reports")
        await self._request(http, number, "uploads", "POST", _upload_path(), data=_slowly())

    async def _request(
        self, http: aiohttp.ClientSession, number: int, kind: str, method: str, path: str, **options: Any
    ) -> None:
        """Send one request, and read its response until the process is terminated."""
        headers = {"Authorization": f"Bearer {self.targets.keys[number % KEYS]}", "Content-Type": "application/json"}
        self.outcomes[f"{kind}: sent"] += 1
        try:
            async with http.request(method, path, headers=headers, **options) as response:
                self.outcomes[f"{kind}: {response.status}"] += 1
                async for _ in response.content.iter_any():
                    pass
        except aiohttp.ClientError as error:
            self.outcomes[f"{kind}: {type(error).__name__}"] += 1

    async def _publish(self, events: int, interval_s: float, results: int) -> None:
        """Publish events after the other requests have responses, so that the events don't end before them."""
        await self._wait_for_responses(*_REQUESTS)
        async with await aio_pika.connect(self.targets.amqp_url) as connection:
            channel = await connection.channel(publisher_confirms=True)
            exchange = await channel.get_exchange(Topology().runs_exchange)
            for _ in range(events):
                await exchange.publish(aio_pika.Message(large_event(results)), routing_key=RUN_COMPLETED)
                self.outcomes[f"event of {results} results: confirmed"] += 1
                await asyncio.sleep(interval_s)

    async def _wait_for_responses(self, *kinds: Kind) -> None:
        selected = self.targets.kinds.intersection(kinds)
        while not have_responses(self.outcomes, selected):  # noqa: ASYNC110 - each request changes the outcomes
            await asyncio.sleep(_POLL_S)

    async def _report_counts(self) -> None:
        while True:
            self.counts.update(self.outcomes)
            await asyncio.sleep(_POLL_S)


_NO_TIMEOUT: Final = aiohttp.ClientTimeout(total=None)


def have_responses(outcomes: Mapping[str, int], kinds: Iterable[Kind]) -> bool:
    """Return whether each stream, export, and report of these kinds has a response, of any status."""
    return all(_responses(outcomes, kind) >= _REQUESTS.get(kind, 0) for kind in kinds)


def _responses(outcomes: Mapping[str, int], kind: Kind) -> int:
    return sum(count for name, count in outcomes.items() if name.startswith(f"{kind}: ") and name != f"{kind}: sent")


def large_event(results: int) -> bytes:
    """Return an event with labels at their limits; every tenth result failed twice."""
    failure = {"type": "AssertionError", "message": "expected 200 got 503"}
    failed = {"status": "failed", "failure": failure}
    items = [
        {"name": f"behaves as specified, number {number}", "suite": "noisy", "duration_ms": 1, "status": "passed"}
        | (failed | {"attempts": [failed, failed]} if number % 10 == 0 else {})
        for number in range(results)
    ]
    run = {"run_id": uuid4().hex, "project_id": "noisy", "labels": LABELS}
    return orjson.dumps(
        {
            "specversion": "1.0", "type": "run.completed", "source": "/noise", "id": uuid4().hex,
            "time": datetime.now(UTC), "data": {"organization": ORGANIZATION, "run": run, "results": items},
        }
    )  # fmt: skip


def write_report(path: Path) -> None:
    """Write a compressed report with the largest number of results."""
    with gzip.open(path, "wb", compresslevel=1) as file:
        file.write(b'{"results":[')
        for start in range(0, MAX_REPORT_ROWS, 10_000):
            rows = [b'{"name":"%d","status":"passed"}' % number for number in range(start, start + 10_000)]
            file.write((b"," if start else b"") + b",".join(rows))
        file.write(b"]}")


def _upload_path() -> str:
    return f"/v1/runs/{uuid4().hex}/report?project_id=noisy"


async def _slowly() -> AsyncIterator[bytes]:
    while True:
        yield _SLOW_CHUNK
        await asyncio.sleep(1)


async def _hang(reader: asyncio.StreamReader, _: asyncio.StreamWriter) -> None:
    await reader.read()


def _main(targets: NoiseTargets, counts: Any) -> None:
    os.setsid()  # as for the processes of the service
    Path("/proc/self/autogroup").write_text(str(_NICE))
    uvloop.run(Noise(targets, counts).run())


def _wait_until_established(kinds: frozenset[Kind], counts: Mapping[str, int]) -> None:
    ends_at = time.monotonic() + _ESTABLISH_TIMEOUT_S
    while not have_responses(counts, kinds) or ("large-events" in kinds and not counts.get(_LARGE)):
        if time.monotonic() > ends_at:
            raise TimeoutError(f"the load wasn't established within {_ESTABLISH_TIMEOUT_S:.0f} s: {dict(counts)}")
        time.sleep(_POLL_S)


@contextmanager
def noise(targets: NoiseTargets) -> Iterator[dict[str, int]]:
    """Send the load from a process of its own while the block runs, and yield the numbers of its requests.

    The block starts when the streams are open, the exports and reports are accepted, and the first large event is
    confirmed. At its end, the numbers are final. Raises TimeoutError if the load isn't established in time.
    """
    with _spawn.Manager() as manager:
        counts = manager.dict()
        process = _spawn.Process(target=_main, args=(targets, counts), daemon=True)
        process.start()
        found: dict[str, int] = {}
        try:
            _wait_until_established(targets.kinds, counts)
            yield found
        finally:
            found.update(counts)
            process.terminate()
            process.join()
