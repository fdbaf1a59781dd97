"""Tests of the outbox: messages of committed transactions arrive, also after failures; others are never sent."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager
from functools import partial
from typing import Any

import orjson
import pytest

from consumers.broker import run_on_broker
from consumers.consume_loop import BatchConsumer
from consumers.dead_letters import EmbeddedDeadLetters, open_dead_letters
from consumers.messages import Delivery, HandlerOutcome, MessageHandler, Postponement, Rejection
from consumers.relay import EmbeddedQueue, Relay
from service.database.transactions import notifying_transaction
from service.events import outbox
from service.tasks.model import EXPORTS
from tests.fixtures.broker import Broker, isolation
from tests.running import TIMEOUT_S, running
from tests.stored import Store


class RecordingHandler:
    """A handler that records the payloads that it gets, and returns or raises the given outcomes in order."""

    def __init__(self, *outcomes: HandlerOutcome | Exception) -> None:
        self.payloads: list[Any] = []
        self._outcomes = list(outcomes)

    async def __call__(self, deliveries: Sequence[Delivery]) -> list[HandlerOutcome]:
        self.payloads += [orjson.loads(delivery.body) for delivery in deliveries]
        outcome = self._outcomes.pop(0) if self._outcomes else None
        if isinstance(outcome, Exception):
            raise outcome
        return [outcome]


async def put(store: Store, *names: str, queue: str = EXPORTS) -> None:
    async with store.pool.acquire() as connection, notifying_transaction(connection):
        for name in names:
            await outbox.put(connection, queue, {"export_id": name})


async def eventually(condition: Callable[[], Awaitable[bool]]) -> None:
    async with asyncio.timeout(TIMEOUT_S):
        while not await condition():  # noqa: ASYNC110 - there is no event for a change of a table
            await asyncio.sleep(0.02)


def has_outbox_messages(store: Store, count: int) -> Callable[[], Awaitable[bool]]:
    async def has_count() -> bool:
        return bool(await store.pool.fetchval("SELECT count(*) = $1 FROM outbox", count))

    return has_count


@asynccontextmanager
async def relaying(store: Store, broker: Broker, relays: int = 1) -> AsyncIterator[None]:
    stopping = asyncio.Event()
    tasks = [Relay(store.pool, broker.topology, stopping) for _ in range(relays)]
    async with running(stopping, run_on_broker(broker.url, broker.topology, tasks, stopping)):
        yield


@asynccontextmanager
async def embedded(store: Store, handle: MessageHandler) -> AsyncIterator[None]:
    stopping = asyncio.Event()
    async with running(stopping, EmbeddedQueue(store.pool, {EXPORTS: handle}, stopping).run()):
        yield


@asynccontextmanager
async def consuming_jobs(store: Store, broker: Broker, handle: MessageHandler) -> AsyncIterator[None]:
    stopping = asyncio.Event()
    consumer = BatchConsumer(broker.topology, broker.topology.queue(EXPORTS), handle, isolation(store), stopping)
    async with running(stopping, run_on_broker(broker.url, broker.topology, [consumer], stopping)):
        yield


async def received(broker: Broker) -> list[str]:
    queue = await broker.channel.get_queue(broker.topology.queue(EXPORTS))
    names = []
    while message := await queue.get(fail=False, no_ack=True):
        names.append(orjson.loads(message.body)["export_id"])
    return names


async def test_committed_messages_are_published_once_and_deleted(store: Store, broker: Broker) -> None:
    names = [f"exp_{number}" for number in range(450)]
    async with relaying(store, broker, relays=3):
        await put(store, *names)
        await eventually(has_outbox_messages(store, 0))
    assert sorted(await received(broker)) == sorted(names)


async def test_message_is_published_before_the_next_poll(
    store: Store, broker: Broker, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("consumers.loops._POLL_S", 10 * TIMEOUT_S)
    async with relaying(store, broker):
        await put(store, "first")
        await eventually(has_outbox_messages(store, 0))
        await put(store, "exp_1")
        await eventually(has_outbox_messages(store, 0))


async def test_message_of_a_rolled_back_transaction_is_not_published(store: Store, broker: Broker) -> None:
    async def roll_back() -> None:
        async with store.pool.acquire() as connection, notifying_transaction(connection):
            await outbox.put(connection, EXPORTS, {"export_id": "never"})
            raise LookupError

    async with relaying(store, broker):
        with pytest.raises(LookupError):
            await roll_back()
        await put(store, "exp_1")
        await eventually(has_outbox_messages(store, 0))
    assert await received(broker) == ["exp_1"]


async def test_unroutable_message_stays_and_delays_no_other(store: Store, broker: Broker) -> None:
    async with relaying(store, broker):
        await put(store, "unroutable", queue="results.nowhere")
        await put(store, "exp_1")
        await eventually(has_outbox_messages(store, 1))
    assert await received(broker) == ["exp_1"]


async def test_messages_are_published_after_a_lost_database_connection(store: Store, broker: Broker) -> None:
    async with relaying(store, broker):
        await put(store, "first")
        await eventually(has_outbox_messages(store, 0))
        await store.pool.execute(
            "SELECT pg_terminate_backend(pid) FROM pg_stat_activity"
            " WHERE query LIKE '%outbox%' AND pid <> pg_backend_pid() AND datname = current_database()"
        )
        await put(store, "exp_1")
        await eventually(has_outbox_messages(store, 0))
    assert await received(broker) == ["first", "exp_1"]


async def test_embedded_queue_passes_messages_to_their_handlers(store: Store) -> None:
    handle = RecordingHandler()
    async with embedded(store, handle):
        await put(store, "exp_1", "exp_2")
        await eventually(has_outbox_messages(store, 0))
    assert handle.payloads == [{"v": 1, "export_id": "exp_1"}, {"v": 1, "export_id": "exp_2"}]


async def test_embedded_queue_retries_a_failed_message(store: Store) -> None:
    handle = RecordingHandler(RuntimeError("once"))
    async with embedded(store, handle):
        await put(store, "exp_1")
        await eventually(has_outbox_messages(store, 0))
    assert [payload["export_id"] for payload in handle.payloads] == ["exp_1", "exp_1"]


async def test_embedded_queue_uses_every_retry_delay_before_the_dead_letter(store: Store) -> None:
    delays_s = []
    async with embedded(store, RecordingHandler(*[RuntimeError("always")] * 6)):
        await put(store, "exp_1")
        for attempt_count in range(1, 6):
            await eventually(partial(has_failed, store, attempt_count))
            delays_s.append(await seconds_until_due(store))
            await store.pool.execute("UPDATE outbox SET due_at = now()")
            await store.pool.execute("SELECT pg_notify('outbox', '')")
        await eventually(has_outbox_messages(store, 0))
    assert delays_s == [1, 5, 30, 120, 600]
    assert await store.pool.fetchval("SELECT reason FROM dead_letters") == "internal_error"


async def test_embedded_queue_does_not_count_a_postponement_as_a_failed_attempt(store: Store) -> None:
    handle = RecordingHandler(*[Postponement("busy")] * 2, RuntimeError("once"))
    async with embedded(store, handle):
        await put(store, "exp_1")
        for handled in (1, 2):
            await eventually(partial(has_handled, handle, handled))
            await eventually(partial(is_postponed, store))
            await store.pool.execute("UPDATE outbox SET due_at = now()")
            await store.pool.execute("SELECT pg_notify('outbox', '')")
        await eventually(partial(has_failed, store, 1))
        assert await store.pool.fetchval("SELECT attempt_count FROM outbox") == 1
        assert await seconds_until_due(store) == 1  # the first delay of the schedule
        await eventually(has_outbox_messages(store, 0))


async def has_handled(handle: RecordingHandler, count: int) -> bool:
    return len(handle.payloads) == count


async def is_postponed(store: Store) -> bool:
    return bool(await store.pool.fetchval("SELECT due_at > now() FROM outbox"))


async def has_failed(store: Store, attempt_count: int) -> bool:
    return bool(await store.pool.fetchval("SELECT count(*) = 1 FROM outbox WHERE attempt_count >= $1", attempt_count))


async def seconds_until_due(store: Store) -> int:
    return round(float(await store.pool.fetchval("SELECT extract(epoch FROM due_at - now()) FROM outbox")))


async def test_embedded_queue_keeps_a_dead_letter_until_it_is_replayed(store: Store) -> None:
    handle = RecordingHandler(Rejection("invalid", "no such job"))
    async with embedded(store, handle):
        await put(store, "exp_1")
        await eventually(has_outbox_messages(store, 0))
        async with store.pool.acquire() as connection:
            dead_letters = EmbeddedDeadLetters(connection)
            [dead_letter] = await dead_letters.list_oldest(10)
            assert (dead_letter.queue, dead_letter.reason, dead_letter.message) == (EXPORTS, "invalid", "no such job")
            await dead_letters.replay(dead_letter)
            await eventually(has_outbox_messages(store, 0))
            assert await dead_letters.list_oldest(10) == []
    assert len(handle.payloads) == 2


async def has_dead_letter(broker: Broker, queue: str) -> bool:
    async with open_dead_letters(broker.url, broker.topology) as dead_letters:
        return [dead_letter.queue for dead_letter in await dead_letters.list_oldest(10)] == [queue]


async def test_replayed_dead_letter_of_a_job_queue_returns_to_that_queue(store: Store, broker: Broker) -> None:
    queue = broker.topology.queue(EXPORTS)
    await put(store, "exp_1")
    async with (
        relaying(store, broker),
        consuming_jobs(store, broker, RecordingHandler(Rejection("invalid", "no such job"))),
    ):
        await eventually(partial(has_dead_letter, broker, queue))
    async with open_dead_letters(broker.url, broker.topology) as dead_letters:
        [dead_letter] = await dead_letters.list_oldest(10)
        await dead_letters.replay(dead_letter)
    assert await received(broker) == ["exp_1"]
