"""Tests of messages that used to end the consumer: each becomes a dead letter or is stored, and harms no other message.

Each test publishes to a real broker and consumes with the handler of the runs queue.
"""

import asyncio
import json
import os
import struct
from collections.abc import Sequence
from hashlib import sha256
from typing import Any

import aio_pika
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from consumers.consume_loop import REJECTING_ATTEMPT
from consumers.dead_letters import open_dead_letters
from consumers.messages import LARGE_BYTES, Delivery, HandlerOutcome
from consumers.runs import runs_handler
from consumers.topology import RUN_COMPLETED, Topology
from service.database import database
from service.tasks import store as tasks_store
from service.tasks.store import CrashSuspects
from tests.consumers.processes import consumer
from tests.consumers.raw_messages import publish_raw, short_string, table
from tests.fixtures.broker import Broker, consuming, until
from tests.proxies import UnreliableProxy
from tests.run_events import body, run_event
from tests.stored import Store

GOOD = 60  # events around the poison message; more than one consumer prefetches
NANOSECONDS = struct.pack(">Q", 1_780_000_000_000_000_000)


def nested(depth: int, inner: bytes = b"1") -> bytes:
    return b"[" * depth + inner + b"]" * depth


def nested_event(depth: int) -> bytes:
    """Return an event with a deep extension. The NUL selects the path that cleans text."""
    return body(run_event(branch="a\x00b"))[:-1] + b',"extension":' + nested(depth) + b"}"


def cdevent(context_type: bytes = b'"dev.cdevents.testsuiterun.finished.0.2.0"', outcome: bytes = b'"pass"') -> bytes:
    return (
        b'{"specversion":"1.0","type":"x","source":"/ci","id":"cd-1","data":{"customData":{"organization":"acme"},'
        b'"context":{"type":' + context_type + b',"timestamp":"2026-05-20T12:00:00Z"},"subject":{"id":"s","content":'
        b'{"outcome":' + outcome + b"}}}}"
    )


async def stored_runs(store: Store) -> int:
    return int(await store.pool.fetchval("SELECT count(*) FROM runs WHERE run_id LIKE 'good%'"))


async def publish_around(broker: Broker, poison: bytes, **properties: bytes) -> None:
    """Publish good events before and after the poison message."""
    exchange = broker.topology.runs_exchange
    await broker.publish(*[run_event(f"good_{number}") for number in range(GOOD // 2)])
    await publish_raw(broker.url, exchange, RUN_COMPLETED, poison, delivery_mode=b"\x02", **properties)
    await broker.publish(*[run_event(f"good_{number}") for number in range(GOOD // 2, GOOD)])


async def assert_only_poison_is_dead(broker: Broker, store: Store, reason: str | None) -> None:
    """Wait until the good events are stored and the queue is empty; check the dead letters and their commands."""

    async def is_done() -> bool:
        depth = await broker.depth(broker.topology.dead_queue(broker.topology.runs_queue))
        return await stored_runs(store) == GOOD and depth == (reason is not None)

    await until(is_done, "the good events and the dead letter", 8)
    async with open_dead_letters(broker.url, broker.topology) as dead_letters:
        listed = await dead_letters.list_oldest(100)
        assert [dead_letter.reason for dead_letter in listed] == ([reason] if reason else [])


def is_parsable(document: bytes) -> bool:
    """Return whether json of this Python version parses the nesting."""
    try:
        json.loads(document)
    except RecursionError:
        return False
    return True


@pytest.mark.parametrize(
    ("poison", "reason"),
    [
        (nested_event(500), None),
        (nested_event(1_000), None),
        (nested_event(8_000), None if is_parsable(nested_event(8_000)) else "not_json"),
        (nested(100_000), "not_json"),
        (body(run_event())[:-1] + b',"extension":' + nested(900, b'"\\ud800"') + b"}", None),
        (cdevent(context_type=b'"\\ud800"'), "invalid"),
        (cdevent(context_type=nested(900)), "invalid"),
        (cdevent(outcome=b'"\\ud800"'), "invalid"),
        (cdevent(outcome=nested(900)), "invalid"),
        (b'{"data":{"context":{"type":"\\u0000"},"subject":{}},"source":"\\ud800","id":"\\u0000"}', "invalid"),
    ],
    ids=["500", "1000", "8000", "100000", "surrogate", "type", "type-nested", "outcome", "outcome-nested", "id"],
)
@pytest.mark.usefixtures("consumers")
async def test_poison_body_harms_no_other_event(
    broker: Broker, store: Store, poison: bytes, reason: str | None
) -> None:
    await publish_around(broker, poison)
    await assert_only_poison_is_dead(broker, store, reason)


@pytest.mark.parametrize(
    "entry",
    [
        (b"name", b"S" + struct.pack(">I", 2) + b"\xff\xfe"),
        (b"big", b"d" + struct.pack(">d", 1e300)),
        (b"negative", b"d" + struct.pack(">d", -1e300)),
        (b"decimal", b"D" + struct.pack(">BI", 2, 0xFFFFFFFF)),
        (b"bytes", b"x" + struct.pack(">I", 2) + b"\xff\xfe"),
        (b"time", b"T" + NANOSECONDS),
        (b"cloudEvents:id", b"T" + NANOSECONDS),
        (b"\xff\xfe", b"t\x01"),
        (b"x-delivery-count", b"l" + struct.pack(">q", 7)),
        (b"large", b"S" + struct.pack(">I", 120_000) + b"x" * 120_000),
    ],
    ids=["text", "double", "negative", "decimal", "bytes", "time", "attribute", "name", "count", "large"],
)
@pytest.mark.usefixtures("consumers")
async def test_poison_headers_of_a_rejected_event_harm_no_other_event(
    broker: Broker, store: Store, entry: tuple[bytes, bytes]
) -> None:
    await publish_around(broker, b"{", headers=table(entry))
    await assert_only_poison_is_dead(broker, store, "not_json")


@pytest.mark.parametrize(
    "properties",
    [
        {"timestamp": NANOSECONDS},
        {"timestamp": b"\xff" * 8},
        {"content_type": short_string(b"\xff\xfe")},
        {"message_id": short_string(b"\xff\xfe"), "timestamp": NANOSECONDS},
        {"priority": b"\xff"},
    ],
    ids=["nanoseconds", "maximum", "content-type", "two", "priority"],
)
@pytest.mark.usefixtures("consumers")
async def test_undecodable_property_stops_neither_the_queue_nor_the_commands(
    broker: Broker, store: Store, properties: dict[str, bytes]
) -> None:
    await publish_around(broker, b"{", **properties)
    await assert_only_poison_is_dead(broker, store, "not_json")


@pytest.mark.usefixtures("consumers")
async def test_valid_event_with_a_timestamp_in_nanoseconds_is_stored(broker: Broker, store: Store) -> None:
    await publish_around(broker, body(run_event("with_time")), timestamp=NANOSECONDS)
    await assert_only_poison_is_dead(broker, store, None)
    assert await store.run("with_time")


async def test_dead_letter_with_an_undecodable_property_can_be_listed_and_replayed(
    broker: Broker, store: Store
) -> None:
    """A message that the broker itself dead-letters keeps its properties."""
    queue = broker.topology.runs_queue
    await publish_raw(
        broker.url, broker.topology.dead_exchange, queue, body(run_event()),
        headers=table((b"name", b"S" + struct.pack(">I", 1) + b"\xff")), timestamp=NANOSECONDS,
    )  # fmt: skip
    async with open_dead_letters(broker.url, broker.topology) as dead_letters:
        [dead_letter] = await dead_letters.list_oldest(10)
        await dead_letters.replay(dead_letter)
    assert await broker.depth(queue) == 1


async def test_replayed_dead_letter_reaches_only_its_original_queue(broker: Broker, store: Store) -> None:
    other = await broker.channel.declare_queue(exclusive=True)
    await other.bind(broker.topology.runs_exchange, routing_key=RUN_COMPLETED)
    exchange = await broker.channel.get_exchange(broker.topology.dead_exchange)
    await exchange.publish(aio_pika.Message(b"{}"), routing_key=broker.topology.runs_queue)
    async with open_dead_letters(broker.url, broker.topology) as dead_letters:
        [dead_letter] = await dead_letters.list_oldest(10)
        await dead_letters.replay(dead_letter)
    assert await broker.depth(broker.topology.runs_queue) == 1
    assert await broker.depth(other.name) == 0


async def test_unexpected_error_of_the_handler_rejects_only_its_message(broker: Broker, store: Store) -> None:
    handle = runs_handler(store.run_ingest)

    async def fail_on_poison(deliveries: Sequence[Delivery]) -> Sequence[HandlerOutcome]:
        if any(delivery.body == b"poison" for delivery in deliveries):
            raise KeyError("a defect of the service")
        return await handle(deliveries)

    async with consuming(broker, store, fail_on_poison):
        await publish_around(broker, b"poison")
        await assert_only_poison_is_dead(broker, store, "internal_error")


CRASH_ON_POISON = """
import os, sys
from service.ingest import parse_events
original = parse_events.sha256
def crash_on_poison(body):
    if body.startswith(b"poison"):
        os.kill(os.getpid(), 9)
    return original(body)
parse_events.sha256 = crash_on_poison
from consumers.__main__ import main
sys.argv = ["consumers", "runs"]
main()
"""


@pytest.mark.slow
@pytest.mark.parametrize("size", [pytest.param(0, id="small"), pytest.param(LARGE_BYTES + 1, id="large")])
async def test_message_that_kills_its_process_becomes_a_dead_letter_and_harms_no_other_event(
    broker: Broker, store: Store, database_url: str, size: int
) -> None:
    """Several poison messages: without isolation, the good messages would reach the delivery limit with them."""
    poisons = [(b"poison %d" % number).ljust(size) for number in range(8)]
    await publish_around(broker, poisons[0])
    await broker.publish(*poisons[1:])
    dead_queue = broker.topology.dead_queue(broker.topology.runs_queue)
    crashes = 0

    async def are_dead() -> bool:
        suspects = await store.pool.fetchval("SELECT count(*) FROM crash_suspects")
        return suspects == 0 and await broker.depth(dead_queue) == len(poisons)

    while not await are_dead():
        with crashing_consumer(database_url, broker.url, broker.topology) as process:
            while process.poll() is None and not await are_dead():  # noqa: ASYNC110 - no event
                await asyncio.sleep(0.05)
            crashes += process.poll() is not None
        assert crashes < 10 * len(poisons)
    with consumer(database_url, broker.url, broker.topology, "runs"):

        async def good_are_stored() -> bool:
            return await stored_runs(store) == GOOD

        await until(good_are_stored, "the good events")
    dead_letters = await broker.pop_dead_letters()
    assert {str(message.headers["x-reason"]) for message in dead_letters} == {"crash_suspect"}
    assert sorted(message.body for message in dead_letters) == poisons
    assert crashes <= REJECTING_ATTEMPT * len(poisons)
    assert await store.pool.fetchval("SELECT count(*) FROM crash_suspects") == 0


def crashing_consumer(database_url: str, amqp_url: str, topology: Topology) -> Any:
    return consumer(database_url, amqp_url, topology, script=CRASH_ON_POISON)


class Interruptions:
    """A handler whose connection is lost each time it handles the message, a number of times."""

    def __init__(self, store: Store, count: int) -> None:
        self._handle = runs_handler(store.run_ingest)
        self._count = count
        self.handled: list[int] = []  # the messages of each call with the message

    async def handle(self, deliveries: Sequence[Delivery]) -> Sequence[HandlerOutcome]:
        if any(b"good_0" in delivery.body for delivery in deliveries):
            self.handled.append(len(deliveries))
            if len(self.handled) <= self._count:
                raise aio_pika.exceptions.ChannelInvalidStateError("the connection is lost")
        return await self._handle(deliveries)


async def test_lost_connection_is_not_an_attempt_of_a_crash_suspect(broker: Broker, store: Store) -> None:
    interruptions = Interruptions(store, REJECTING_ATTEMPT + 1)
    await broker.publish(run_event("good_0"))
    async with consuming(broker, store, interruptions.handle, concurrency=1):

        async def is_stored() -> bool:
            return await stored_runs(store) == 1

        await until(is_stored, "the event")
    assert len(interruptions.handled) == REJECTING_ATTEMPT + 2
    assert await broker.pop_dead_letters() == []
    assert await store.pool.fetchval("SELECT count(*) FROM crash_suspects") == 0


async def test_message_whose_processes_ended_is_dead_lettered_unread(broker: Broker, store: Store) -> None:
    """The other messages are stored."""
    event = run_event("good_0")
    for _ in range(REJECTING_ATTEMPT - 1):  # each object is a process, and none of them withdraws its attempt
        await CrashSuspects(store.pool).start_attempt(broker.topology.runs_queue, sha256(body(event)).digest())
    interruptions = Interruptions(store, 1)  # so that the broker delivers the message again
    await broker.publish(event, *[run_event(f"good_{number}") for number in range(1, GOOD + 1)])
    async with consuming(broker, store, interruptions.handle, concurrency=1):
        await assert_only_poison_is_dead(broker, store, "crash_suspect")
    assert len(interruptions.handled) == 1
    assert await store.pool.fetchval("SELECT count(*) FROM crash_suspects") == 0


async def test_process_withdraws_its_interrupted_attempt_after_an_outage(
    store: Store, database_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(tasks_store, "_WITHDRAW_TIMEOUT_S", 0.2)
    async with UnreliableProxy(database_url) as proxy:
        pool = await database.open_pool(proxy.url, "results_worker", 1)
        here, elsewhere = CrashSuspects(pool), CrashSuspects(store.pool)
        assert await here.start_attempt("queue", b"sha") == 1
        assert await here.start_attempt("queue", b"sha") == 1, "the response of the first call was lost"
        proxy.rejects_connections = True
        proxy.close_connections()
        await here.withdraw("queue", b"sha")
        assert await elsewhere.start_attempt("queue", b"sha") == 2
        proxy.resume()
        await here.withdraw_interrupted()
        assert await elsewhere.start_attempt("queue", b"sha") == 1
        await database.close_pool(pool)


PROPERTIES = {
    "content_type": st.sampled_from([b"application/cloudevents+json", b"", b"\xff", b"a" * 255]).map(short_string),
    "content_encoding": st.binary(max_size=20).map(short_string),
    "delivery_mode": st.binary(min_size=1, max_size=1),
    "priority": st.binary(min_size=1, max_size=1),
    "correlation_id": st.binary(max_size=255).map(short_string),
    "reply_to": st.binary(max_size=20).map(short_string),
    "message_id": st.binary(max_size=20).map(short_string),
    "timestamp": st.binary(min_size=8, max_size=8),
    "message_type": st.binary(max_size=20).map(short_string),
    "app_id": st.binary(max_size=20).map(short_string),
}
SCALARS = st.one_of(
    st.binary(max_size=30).map(lambda text: b"S" + struct.pack(">I", len(text)) + text),
    st.binary(min_size=8, max_size=8).map(lambda number: b"l" + number),
    st.binary(min_size=8, max_size=8).map(lambda number: b"d" + number),
    st.binary(min_size=4, max_size=4).map(lambda number: b"f" + number),
    st.binary(min_size=8, max_size=8).map(lambda time: b"T" + time),
    st.binary(min_size=5, max_size=5).map(lambda number: b"D" + number),
    st.binary(min_size=1, max_size=1).map(lambda number: b"b" + number),
    st.just(b"V"),
)
VALUES = st.recursive(
    SCALARS,
    lambda values: st.one_of(
        st.lists(values, max_size=3).map(b"".join).map(lambda items: b"A" + struct.pack(">I", len(items)) + items),
        st.lists(st.tuples(st.binary(max_size=10), values), max_size=3).map(lambda items: b"F" + table(*items)),
    ),
    max_leaves=6,
)
NAMES = st.one_of(
    st.binary(max_size=30), st.sampled_from([b"cloudEvents:specversion", b"cloudEvents_id", b"x-reason", b"x-queue"])
)
HEADERS = st.lists(st.tuples(NAMES, VALUES), max_size=4).map(lambda entries: table(*entries))
BODIES = st.one_of(
    st.binary(max_size=50),
    st.sampled_from([nested_event(600), cdevent(context_type=b'"\\ud800"'), b"", b"null", b"{}", b'{"data":[]}']),
)


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore:Do not use the `random` module")  # the consumer uses it in the other thread
async def test_no_message_ends_a_consumer(broker: Broker, store: Store) -> None:
    """Any body with any properties and headers that the broker accepts is stored or becomes a readable dead letter."""
    loop = asyncio.get_running_loop()
    dead_queue = broker.topology.dead_queue(broker.topology.runs_queue)

    async def check(content: bytes, properties: dict[str, bytes], headers: bytes) -> None:
        exchange = broker.topology.runs_exchange
        try:
            await publish_raw(broker.url, exchange, RUN_COMPLETED, content, headers=headers, **properties)
        except (AssertionError, asyncio.IncompleteReadError):
            return  # the broker rejects the message
        marker = f"good_{os.urandom(8).hex()}"
        await broker.publish(run_event(marker))

        async def passed() -> bool:
            return await store.run(marker) is not None and await broker.depth(broker.topology.runs_queue) == 0

        await until(passed, f"the event after {content!r} {properties} {headers!r}", 10)
        async with open_dead_letters(broker.url, broker.topology) as dead_letters:
            for dead_letter in await dead_letters.list_oldest(10):
                await dead_letters.discard(dead_letter)
        assert await broker.depth(dead_queue) == 0

    @settings(max_examples=150, deadline=None, suppress_health_check=list(HealthCheck))
    @given(BODIES, st.fixed_dictionaries({}, optional=PROPERTIES), HEADERS)
    def fuzz(content: bytes, properties: dict[str, bytes], headers: bytes) -> None:
        asyncio.run_coroutine_threadsafe(check(content, properties, headers), loop).result()

    async with consuming(broker, store, runs_handler(store.run_ingest), concurrency=1):
        await asyncio.to_thread(fuzz)
