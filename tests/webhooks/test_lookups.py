"""Name servers that don't respond, or reject a name, delay no other webhook and no reconnect."""

import asyncio
import socket
import struct
import time
from collections.abc import AsyncIterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import urlsplit

import asyncpg
import pytest

from service.outbound import resolver
from service.outbound.resolver import EndpointResolver
from tests.fixtures.broker import until
from tests.receivers import receiving
from tests.run_events import run_event
from tests.stored import Store
from tests.webhooks.dispatching import add_webhook, attempted, dispatching

LOOKUP_THREADS = 2  # as uvloop allows
_NAME_ERROR = 0x8183  # a response with the code NXDOMAIN
_HANGING = ".hanging.test"


@dataclass
class NameServer(asyncio.DatagramProtocol):
    """Knows no name and doesn't respond to queries for names under `.hanging.test`."""

    address: str = ""
    queried: list[str] = field(default_factory=list)
    _transport: Any = None

    def connection_made(self, transport: Any) -> None:
        self._transport = transport
        host, port = transport.get_extra_info("sockname")
        self.address = f"{host}:{port}"

    def datagram_received(self, data: bytes, addr: Any) -> None:
        end = data.index(b"\0", 12)
        name = ".".join(label.decode() for label in _labels(data[12:end]))
        self.queried.append(name)
        if not name.endswith(_HANGING):
            header = data[:2] + struct.pack("!HHHHH", _NAME_ERROR, 1, 0, 0, 0)
            self._transport.sendto(header + data[12 : end + 5], addr)


def _labels(name: bytes) -> list[bytes]:
    labels = []
    while name:
        labels.append(name[1 : 1 + name[0]])
        name = name[1 + name[0] :]
    return labels


@asynccontextmanager
async def name_server() -> AsyncIterator[NameServer]:
    loop = asyncio.get_running_loop()
    transport, protocol = await loop.create_datagram_endpoint(NameServer, local_addr=("127.0.0.1", 0))
    try:
        yield protocol
    finally:
        transport.close()


@pytest.fixture
async def few_lookup_threads(monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[None]:
    """Limit the threads in which the system's resolver runs, which doesn't return for hanging names."""
    released, system_lookup = asyncio.Event(), socket.getaddrinfo
    deadline = time.monotonic() + 10

    def lookup(host: Any, *args: Any, **options: Any) -> Any:
        while str(host).endswith(_HANGING) and not released.is_set() and time.monotonic() < deadline:
            time.sleep(0.05)
        return system_lookup(host, *args, **options)

    monkeypatch.setattr(socket, "getaddrinfo", lookup)
    asyncio.get_running_loop().set_default_executor(ThreadPoolExecutor(LOOKUP_THREADS))
    yield
    released.set()


@pytest.mark.usefixtures("few_lookup_threads")
async def test_unanswered_lookups_delay_no_other_webhook_and_no_reconnect(
    store: Store, database_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(resolver, "_TIMEOUT_S", 4.0)  # the dispatcher waits for its attempts when it stops
    async with receiving() as healthy, name_server() as server:
        for number in range(LOOKUP_THREADS * 2):
            await add_webhook(store, f"http://h{number}{_HANGING}/hook", ("run.failed",))
        await add_webhook(store, healthy.url.replace("127.0.0.1", "localhost"), ("run.completed",))
        async with dispatching(store, name_servers=[server.address]):
            await store.ingest(run_event(status="failed"))
            await until(lambda: _has_queried(server), "the lookups", 6)
            await until(lambda: _has_received(healthy.received), "the delivery to the healthy webhook", 6)
            async with asyncio.timeout(6):
                port = urlsplit(database_url).port
                await (await asyncpg.connect(database_url, host="localhost", port=port)).close()


async def test_failed_lookup_is_recorded_as_a_failed_attempt(store: Store) -> None:
    async with name_server() as server, dispatching(store, name_servers=[server.address]):
        webhook = await add_webhook(store, "http://unknown.test/hook")
        await store.ingest(run_event())
        row = await attempted(store, webhook)
    assert row["status"] == "pending"
    assert "unknown.test" in row["attempt_log"][0]["error"]


async def test_failed_lookup_is_cached_for_a_short_time() -> None:
    async with name_server() as server:
        lookups = EndpointResolver([server.address])
        for _ in range(3):
            with pytest.raises(OSError, match="not found"):
                await lookups.resolve("unknown.test", 443)
        await lookups.close()
    assert len(server.queried) == 1


@pytest.mark.slow
async def test_unanswered_lookup_times_out_before_the_attempt() -> None:
    async with name_server() as server:
        lookups = EndpointResolver([server.address])
        started = time.monotonic()
        with pytest.raises(OSError, match=r"(?i)name servers within 5 s|timeout"):
            await lookups.resolve(f"slow{_HANGING}", 443)
        assert time.monotonic() - started < 6
        await lookups.close()


async def _has_received(received: list[Any]) -> bool:
    return bool(received)


async def _has_queried(server: NameServer) -> bool:
    return len(server.queried) >= LOOKUP_THREADS
