"""A consumer whose messages make no progress gets a new connection, if the servers respond."""

import asyncio
import contextlib
from collections.abc import Sequence

import pytest
from structlog.testing import capture_logs

from consumers import broker as consumers_broker
from consumers.broker import probe_servers, run_on_broker
from consumers.consume_loop import BatchConsumer
from consumers.inbox import ConsumerProgress
from consumers.messages import Delivery, HandlerOutcome
from service import stopping as stopping_module
from service.progress import observing_progress, report_progress
from tests.fixtures.broker import Broker, isolation, until
from tests.proxies import UnreliableProxy
from tests.run_events import run_event
from tests.running import running
from tests.stored import Store


class StuckOnce:
    """A handler that never finishes its first batch."""

    def __init__(self) -> None:
        self.batches = 0

    async def handle(self, deliveries: Sequence[Delivery]) -> list[HandlerOutcome]:
        self.batches += 1
        if self.batches == 1:
            await asyncio.Event().wait()
        return [None] * len(deliveries)

    async def is_repeated(self) -> bool:
        return self.batches == 2


@pytest.fixture
def fast_watchdog(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(consumers_broker, "STALLED_S", 0.2)
    monkeypatch.setattr(consumers_broker, "_CHECK_S", 0.05)


@pytest.mark.usefixtures("fast_watchdog")
async def test_consumer_without_progress_gets_a_new_connection(broker: Broker, store: Store, database_url: str) -> None:
    stopping, stuck = asyncio.Event(), StuckOnce()
    consumer = BatchConsumer(broker.topology, broker.topology.runs_queue, stuck.handle, isolation(store), stopping)
    async with UnreliableProxy(database_url) as proxy:

        async def probe() -> None:
            await probe_servers(broker.url, proxy.url)

        proxy.rejects_connections = True
        with capture_logs() as logs:
            async with running(stopping, run_on_broker(broker.url, broker.topology, [consumer], stopping, probe)):
                await broker.publish(run_event())
                await asyncio.sleep(0.7)
                assert stuck.batches == 1, "a server doesn't respond"
                proxy.resume()
                await until(stuck.is_repeated, "the message on a new connection")
    events = [logged["event"] for logged in logs]
    assert events.count("consumer_stalled") == 1
    assert "broker_connection_lost" in events
    assert await broker.depth(broker.topology.runs_queue) == 0


class Unending(StuckOnce):
    """A handler whose first batch continues after its cancellation, until `end` is set."""

    def __init__(self) -> None:
        super().__init__()
        self.end = asyncio.Event()

    async def handle(self, deliveries: Sequence[Delivery]) -> list[HandlerOutcome]:
        self.batches += 1
        is_first = self.batches == 1
        while is_first and not self.end.is_set():
            with contextlib.suppress(asyncio.CancelledError):
                await self.end.wait()
        return [None] * len(deliveries)


@pytest.mark.usefixtures("fast_watchdog")
async def test_batch_that_never_ends_causes_one_new_connection(
    broker: Broker, store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, seconds in (("_CANCEL_INTERVAL_S", 0.02), ("_TERMINATE_S", 0.05), ("_ABANDON_S", 0.1)):
        monkeypatch.setattr(stopping_module, name, seconds)
    stopping, unending = asyncio.Event(), Unending()
    consumer = BatchConsumer(broker.topology, broker.topology.runs_queue, unending.handle, isolation(store), stopping)
    with capture_logs() as logs:
        async with running(stopping, run_on_broker(broker.url, broker.topology, [consumer], stopping)):
            await broker.publish(run_event())
            try:
                await until(unending.is_repeated, "the message on a new connection")
                await asyncio.sleep(0.5)
            finally:
                unending.end.set()
    assert [logged["event"] for logged in logs].count("consumer_stalled") == 1


class Slow:
    """A handler whose statements take longer in total than the watchdog waits."""

    def __init__(self, store: Store) -> None:
        self.batches = 0
        self.finished = 0
        self._pool = store.pool

    async def handle(self, deliveries: Sequence[Delivery]) -> list[HandlerOutcome]:
        self.batches += 1
        async with self._pool.acquire() as connection:
            for _ in range(4):
                await connection.fetchval("SELECT pg_sleep($1)", 0.25)
        self.finished += 1
        return [None] * len(deliveries)

    async def is_decided(self) -> bool:
        return bool(self.finished) or self.batches > 1


@pytest.mark.usefixtures("fast_watchdog")
async def test_slow_batch_whose_statements_end_is_not_repeated(
    broker: Broker, store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(consumers_broker, "STALLED_S", 0.75)
    stopping, slow = asyncio.Event(), Slow(store)
    consumer = BatchConsumer(broker.topology, broker.topology.runs_queue, slow.handle, isolation(store), stopping)
    with capture_logs() as logs:
        async with running(stopping, run_on_broker(broker.url, broker.topology, [consumer], stopping)):
            await broker.publish(run_event())
            await until(slow.is_decided, "the end of the batch, or a repetition")
    assert slow.batches == 1
    assert "consumer_stalled" not in [logged["event"] for logged in logs]


async def test_copy_is_progress(store: Store) -> None:
    reported: list[str] = []
    async with store.pool.acquire() as connection, connection.transaction():
        await connection.execute("CREATE TEMP TABLE numbers (number int) ON COMMIT DROP")
        with observing_progress(lambda: reported.append("progress")):
            await connection.copy_records_to_table("numbers", records=[(1,)])
    assert reported == ["progress"]


class Clock:
    now_s = 0.0

    def __call__(self) -> float:
        return self.now_s


async def test_progress_of_one_batch_is_not_that_of_another() -> None:
    clock = Clock()
    progress = ConsumerProgress(clock)
    finish = asyncio.Event()

    async def handle() -> None:
        with progress.handling():
            await finish.wait()

    handling = asyncio.create_task(handle())
    await asyncio.sleep(0)
    clock.now_s = 50
    with progress.handling():
        clock.now_s = 60
        report_progress()
        assert progress.unchanged_s() == 60
    finish.set()
    await handling
    assert progress.unchanged_s() == 0


async def test_messages_wait_as_long_as_no_batch_makes_progress() -> None:
    clock = Clock()
    progress = ConsumerProgress(clock)
    progress.set_waiting(waiting=True)
    clock.now_s = 50
    assert progress.unchanged_s() == 50
    with progress.handling():
        clock.now_s = 55
        report_progress()  # such as a retry
        clock.now_s = 60
        assert progress.unchanged_s() == 5
    progress.set_waiting(waiting=False)
    assert progress.unchanged_s() == 0
