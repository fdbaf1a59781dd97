"""What a committed transaction wants sent arrives, whatever dies on the way; what was rolled back never does."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager
from functools import partial
from typing import Any

import orjson
import pytest

from consumers.broker import run_on_broker
from consumers.dead_letters import EmbeddedDeadLetters, open_dead_letters
from consumers.relay import EmbeddedQueue, Relay
from consumers.worker import BatchConsumer, Delivery, MessageHandler, Rejection
from service.domain.queues import EXPORTS
from service.store import outbox
from tests.consumers.conftest import Broker
from tests.running import PATIENCE_S, running
from tests.stored import Store


class Taken:
    """A handler that notes what it was given."""

    def __init__(self, *verdicts: Rejection | Exception | None) -> None:
        self.payloads: list[Any] = []
        self._verdicts = list(verdicts)

    async def __call__(self, deliveries: Sequence[Delivery]) -> list[Rejection | None]:
        self.payloads += [orjson.loads(delivery.body) for delivery in deliveries]
        verdict = self._verdicts.pop(0) if self._verdicts else None
        if isinstance(verdict, Exception):
            raise verdict
        return [verdict]


async def put(store: Store, *names: str, queue: str = EXPORTS) -> None:
    async with store.pool.acquire() as connection, connection.transaction():
        for name in names:
            await outbox.put(connection, queue, {"export_id": name})


async def eventually(holds: Callable[[], Awaitable[bool]]) -> None:
    async with asyncio.timeout(PATIENCE_S):
        while not await holds():  # noqa: ASYNC110 - a table sets no event
            await asyncio.sleep(0.02)


def left(store: Store, count: int) -> Callable[[], Awaitable[bool]]:
    async def holds() -> bool:
        return bool(await store.pool.fetchval("SELECT count(*) = $1 FROM outbox", count))

    return holds


@asynccontextmanager
async def relaying(store: Store, broker: Broker, relays: int = 1) -> AsyncIterator[None]:
    stopping = asyncio.Event()
    team = [Relay(store.pool, broker.topology, stopping) for _ in range(relays)]
    async with running(stopping, run_on_broker(broker.url, broker.topology, team, stopping)):
        yield


@asynccontextmanager
async def embedded(store: Store, handle: MessageHandler) -> AsyncIterator[None]:
    stopping = asyncio.Event()
    async with running(stopping, EmbeddedQueue(store.pool, {EXPORTS: handle}, stopping).run()):
        yield


@asynccontextmanager
async def consuming_jobs(broker: Broker, handle: MessageHandler) -> AsyncIterator[None]:
    stopping = asyncio.Event()
    lane = BatchConsumer(broker.topology, broker.topology.job_queue(EXPORTS), handle, stopping)
    async with running(stopping, run_on_broker(broker.url, broker.topology, [lane], stopping)):
        yield


async def received(broker: Broker) -> list[str]:
    queue = await broker.channel.get_queue(broker.topology.job_queue(EXPORTS))
    names = []
    while message := await queue.get(fail=False, no_ack=True):
        names.append(orjson.loads(message.body)["export_id"])
    return names


async def test_committed_messages_reach_the_broker_once_and_leave_the_outbox(store: Store, broker: Broker) -> None:
    names = [f"exp_{number}" for number in range(450)]
    async with relaying(store, broker, relays=3):
        await put(store, *names)
        await eventually(left(store, 0))
    assert sorted(await received(broker)) == sorted(names)


async def test_a_message_leaves_at_once_and_not_with_the_next_poll(store: Store, broker: Broker) -> None:
    async with relaying(store, broker):
        await put(store, "warm")
        await eventually(left(store, 0))
        started = asyncio.get_running_loop().time()
        await put(store, "exp_1")
        await eventually(left(store, 0))
        assert asyncio.get_running_loop().time() - started < 0.7


async def test_a_rolled_back_transaction_sends_nothing(store: Store, broker: Broker) -> None:
    async def give_up() -> None:
        async with store.pool.acquire() as connection, connection.transaction():
            await outbox.put(connection, EXPORTS, {"export_id": "never"})
            raise LookupError

    async with relaying(store, broker):
        with pytest.raises(LookupError):
            await give_up()
        await put(store, "exp_1")
        await eventually(left(store, 0))
    assert await received(broker) == ["exp_1"]


async def test_a_message_that_the_broker_returns_stays_and_holds_up_no_other(store: Store, broker: Broker) -> None:
    async with relaying(store, broker):
        await put(store, "lost", queue="results.nowhere")
        await put(store, "exp_1")
        await eventually(left(store, 1))
    assert await received(broker) == ["exp_1"]


async def test_messages_wait_out_a_lost_database_connection(store: Store, broker: Broker) -> None:
    async with relaying(store, broker):
        await put(store, "warm")
        await eventually(left(store, 0))
        await store.pool.execute(
            "SELECT pg_terminate_backend(pid) FROM pg_stat_activity"
            " WHERE query LIKE '%outbox%' AND pid <> pg_backend_pid() AND datname = current_database()"
        )
        await put(store, "exp_1")
        await eventually(left(store, 0))
    assert await received(broker) == ["warm", "exp_1"]


async def test_without_a_broker_handlers_get_the_messages_themselves(store: Store) -> None:
    handle = Taken()
    async with embedded(store, handle):
        await put(store, "exp_1", "exp_2")
        await eventually(left(store, 0))
    assert handle.payloads == [{"v": 1, "export_id": "exp_1"}, {"v": 1, "export_id": "exp_2"}]


async def test_without_a_broker_a_failed_message_comes_again(store: Store) -> None:
    handle = Taken(RuntimeError("once"))
    async with embedded(store, handle):
        await put(store, "exp_1")
        await eventually(left(store, 0))
    assert [payload["export_id"] for payload in handle.payloads] == ["exp_1", "exp_1"]


async def test_embedded_queue_uses_every_retry_delay_before_the_dead_letter(store: Store) -> None:
    delays_s = []
    async with embedded(store, Taken(*[RuntimeError("always")] * 6)):
        await put(store, "exp_1")
        for attempt_count in range(1, 6):
            await eventually(partial(has_failed, store, attempt_count))
            delays_s.append(await seconds_until_due(store))
            await store.pool.execute("UPDATE outbox SET due_at = now()")
            await store.pool.execute("SELECT pg_notify('outbox', '')")
        await eventually(left(store, 0))
    assert delays_s == [1, 5, 30, 120, 600]
    assert await store.pool.fetchval("SELECT reason FROM dead_letters") == "internal_error"


async def has_failed(store: Store, attempt_count: int) -> bool:
    return bool(await store.pool.fetchval("SELECT count(*) = 1 FROM outbox WHERE attempt_count >= $1", attempt_count))


async def seconds_until_due(store: Store) -> int:
    return round(float(await store.pool.fetchval("SELECT extract(epoch FROM due_at - now()) FROM outbox")))


async def test_without_a_broker_what_cannot_be_taken_is_a_dead_letter_until_it_is_replayed(store: Store) -> None:
    handle = Taken(Rejection("invalid", "no such job"))
    async with embedded(store, handle):
        await put(store, "exp_1")
        await eventually(left(store, 0))
        async with store.pool.acquire() as connection:
            graveyard = EmbeddedDeadLetters(connection)
            [letter] = await graveyard.list_oldest(10)
            assert (letter.queue, letter.reason, letter.message) == (EXPORTS, "invalid", "no such job")
            await graveyard.replay(letter)
            await eventually(left(store, 0))
            assert await graveyard.list_oldest(10) == []
    assert len(handle.payloads) == 2


async def has_letter(broker: Broker, queue: str) -> bool:
    async with open_dead_letters(broker.url, broker.topology) as graveyard:
        return [letter.queue for letter in await graveyard.list_oldest(10)] == [queue]


async def test_dead_letters_of_a_queue_between_our_processes_go_back_to_it(store: Store, broker: Broker) -> None:
    queue = broker.topology.job_queue(EXPORTS)
    await put(store, "exp_1")
    async with relaying(store, broker), consuming_jobs(broker, Taken(Rejection("invalid", "no such job"))):
        await eventually(partial(has_letter, broker, queue))
    async with open_dead_letters(broker.url, broker.topology) as graveyard:
        [letter] = await graveyard.list_oldest(10)
        await graveyard.replay(letter)
    assert await received(broker) == ["exp_1"]
