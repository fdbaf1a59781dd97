"""Tests of errors of the database server: no event is blamed, and each is stored after the server has recovered."""

import asyncio
import socket
import struct
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import datetime

import asyncpg
import pytest
from aiormq.connection import FrameReceiver
from aiormq.exceptions import AMQPConnectionError

from consumers.aiormq_internals import FrameReader
from consumers.broker import run_on_broker
from consumers.deliveries import MessageAssembler
from service.domain.ids import OrgId, run_key
from service.ingest.parse_events import to_ms
from tests.fixtures.broker import Broker, until
from tests.run_events import run_event
from tests.running import running
from tests.stored import Store

pytestmark = pytest.mark.slow

EVENTS = 30


async def stored_runs(store: Store) -> int:
    return int(await store.pool.fetchval("SELECT count(*) FROM runs"))


async def dead_letters(broker: Broker) -> int:
    return await broker.depth(broker.topology.dead_queue(broker.topology.runs_queue))


async def publish_during(broker: Broker, store: Store, database_url: str, breaking: str, repair: str) -> None:
    """Publish events while the server fails, repair it, and wait until each event is stored."""
    owner = await asyncpg.connect(database_url, server_settings={"default_transaction_read_only": "off"})
    try:
        await owner.execute(breaking)
        await store.pool.expire_connections()
        await broker.publish(*[run_event(f"run_{number}") for number in range(EVENTS)])
        await asyncio.sleep(1)
        await owner.execute(repair)
        await store.pool.expire_connections()
    finally:
        await owner.close()

    async def all_stored() -> bool:
        return await stored_runs(store) == EVENTS

    await until(all_stored, "all events", 20)
    assert await dead_letters(broker) == 0


@pytest.mark.usefixtures("consumers")
@pytest.mark.parametrize(
    ("breaking", "repair"),
    [
        (
            "ALTER DATABASE {} SET default_transaction_read_only = on",
            "ALTER DATABASE {} RESET default_transaction_read_only",
        ),
        ("REVOKE INSERT ON runs FROM results_worker", "GRANT INSERT ON runs TO results_worker"),
        ("ALTER TABLE runs RENAME TO moved", "ALTER TABLE moved RENAME TO runs"),
    ],
    ids=["read-only", "privilege", "table"],
)  # fmt: skip
async def test_error_of_the_server_makes_no_dead_letter(
    broker: Broker, store: Store, database_url: str, breaking: str, repair: str
) -> None:
    name = database_url.rpartition("/")[2]
    await publish_during(broker, store, database_url, breaking.format(name), repair.format(name))


@pytest.mark.usefixtures("consumers")
@pytest.mark.parametrize("state", ["22023", "58030", "XX001", "55000", "55006", "25P04"])
async def test_sqlstate_of_the_server_makes_no_dead_letter(
    broker: Broker, store: Store, database_url: str, state: str
) -> None:
    breaking = (
        "CREATE FUNCTION fail() RETURNS trigger LANGUAGE plpgsql AS"
        f" $$ BEGIN RAISE EXCEPTION 'no' USING ERRCODE = '{state}'; END $$;"
        "CREATE TRIGGER fail BEFORE INSERT ON events EXECUTE FUNCTION fail()"
    )
    await publish_during(broker, store, database_url, breaking, "DROP FUNCTION fail CASCADE")


@pytest.mark.usefixtures("consumers")
async def test_event_whose_storage_the_server_does_not_support_is_a_dead_letter(
    broker: Broker, store: Store, database_url: str
) -> None:
    owner = await asyncpg.connect(database_url)
    await owner.execute(
        "CREATE FUNCTION fail() RETURNS trigger LANGUAGE plpgsql AS"
        " $$ BEGIN RAISE EXCEPTION 'no' USING ERRCODE = '0A000'; END $$;"
        "CREATE TRIGGER fail BEFORE INSERT ON events EXECUTE FUNCTION fail()"
    )
    await owner.close()
    await broker.publish(run_event())

    async def is_rejected() -> bool:
        return await dead_letters(broker) == 1

    await until(is_rejected, "the dead letter", 10)
    [receipt] = await store.receipts()
    assert receipt["status"] == "rejected"
    assert receipt["problems"][0]["reason"].startswith("internal_error")


@pytest.mark.usefixtures("consumers")
@pytest.mark.slow
async def test_event_that_the_server_rejects_blocks_no_other_event(
    broker: Broker, store: Store, database_url: str
) -> None:
    """An error of the server for only one event postpones this event."""
    owner = await asyncpg.connect(database_url)
    await owner.execute(
        "CREATE FUNCTION fail() RETURNS trigger LANGUAGE plpgsql AS"
        " $$ BEGIN RAISE EXCEPTION 'no' USING ERRCODE = 'XX000'; END $$;"
        "CREATE TRIGGER fail BEFORE INSERT ON events FOR EACH ROW WHEN (NEW.run_id = 'run_3') EXECUTE FUNCTION fail()"
    )
    await broker.publish(*[run_event(f"run_{number}") for number in range(EVENTS)])

    async def others_stored() -> bool:
        return await stored_runs(store) == EVENTS - 1

    await until(others_stored, "the other events", 10)
    await owner.execute("DROP FUNCTION fail CASCADE")
    await owner.close()

    async def all_stored() -> bool:
        return await stored_runs(store) == EVENTS

    await until(all_stored, "the event", 20)
    assert await dead_letters(broker) == 0


@asynccontextmanager
async def locked(database_url: str, *run_ids: str) -> AsyncIterator[None]:
    """Lock runs as the ingest of a very large report does."""
    other = await asyncpg.connect(database_url)
    try:
        async with other.transaction():
            await other.execute("SELECT FROM runs WHERE org_id = 1 AND run_id = ANY($1) FOR UPDATE", list(run_ids))
            yield
    finally:
        await other.close()


@pytest.mark.usefixtures("consumers")
@pytest.mark.slow
async def test_locked_runs_stall_no_other_event(broker: Broker, store: Store, database_url: str) -> None:
    """More events of locked runs than the consumers prefetch: the events of other runs are stored meanwhile."""
    slow = [f"slow_{number}" for number in range(3)]
    await broker.publish(*[run_event(run_id) for run_id in slow])

    async def slow_are_stored() -> bool:
        return await stored_runs(store) == len(slow)

    await until(slow_are_stored, "the first events")
    async with locked(database_url, *slow):
        for number in range(120):
            await broker.publish(run_event(slow[number % 3], branch=f"b{number}"), run_event(f"fast_{number}"))

        async def others_are_stored() -> bool:
            return await stored_runs(store) == len(slow) + 120

        await until(others_are_stored, "the events of the other runs", 8)

    async def all_are_stored() -> bool:
        return bool(await store.pool.fetchval("SELECT count(*) = 243 FROM receipts WHERE status = 'stored'"))

    await until(all_are_stored, "the events of the locked runs", 20)
    assert await dead_letters(broker) == 0


@pytest.mark.usefixtures("consumers")
async def test_run_whose_key_another_run_has_is_rejected(broker: Broker, store: Store) -> None:
    """Such a run is neither new nor stored, and was tried again indefinitely."""
    event = run_event("run_1")
    completed_ms = to_ms(datetime.fromisoformat(event["time"]))
    await broker.publish(run_event("other"))

    async def is_stored() -> bool:
        return await stored_runs(store) == 1

    await until(is_stored, "the other run")
    key = run_key(OrgId(1), "run_1", completed_ms)
    await store.pool.execute("DELETE FROM results")
    await store.pool.execute("UPDATE runs SET run_key = $1", key)
    await broker.publish(event)

    async def is_rejected() -> bool:
        return await dead_letters(broker) == 1

    await until(is_rejected, "the dead letter", 10)
    [dead_letter] = await broker.pop_dead_letters()
    assert dead_letter.headers["x-reason"] == "run_id_conflict"
    assert "'other'" in str(dead_letter.headers["x-message"])


async def respond(reader: asyncio.StreamReader, writer: asyncio.StreamWriter, data: bytes, *, reset: bool) -> None:
    if reset:
        linger = struct.pack("ii", 1, 0)
        writer.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, linger)
    writer.write(data)
    if not reset:
        await asyncio.sleep(0.01)
    writer.close()


@pytest.mark.parametrize(
    "data",
    [b"", b"AMQP\0\0\x09\x01", b"HTTP/1.1 400 Bad Request\r\n\r\n", b"\x01" + bytes(5) + b"\x04\0\x0a\0\x0a\xce"],
    ids=["nothing", "version", "http", "frame"],
)  # fmt: skip
@pytest.mark.parametrize("reset", [False, True])
@pytest.mark.parametrize("delay_s", [0.0, 0.05])
async def test_server_that_closes_each_connection_does_not_end_the_consumer(
    broker: Broker, data: bytes, delay_s: float, reset: bool
) -> None:
    """A load balancer without a backend accepts and closes connections. The consumer must continue to connect."""
    accepted = 0

    async def accept(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        nonlocal accepted
        accepted += 1
        await asyncio.sleep(delay_s)
        await respond(reader, writer, data, reset=reset)

    server = await asyncio.start_server(accept, "127.0.0.1", 0)
    port = server.sockets[0].getsockname()[1]
    stopping = asyncio.Event()
    async with server, running(stopping, run_on_broker(f"amqp://127.0.0.1:{port}/", broker.topology, [], stopping)):

        async def accepted_three() -> bool:
            return accepted >= 3

        await until(accepted_three, "three connections", 10)


async def test_end_of_the_stream_before_the_first_read_is_an_error_of_the_connection() -> None:
    """With an unmodified reader, the library raises StopAsyncIteration, which isn't an error of the connection."""
    source = asyncio.StreamReader()
    source.feed_eof()
    with pytest.raises(StopAsyncIteration):
        await FrameReceiver(source).get_frame()
    source = asyncio.StreamReader()
    source.feed_eof()
    with pytest.raises(AMQPConnectionError):
        await FrameReceiver(FrameReader(source, MessageAssembler())).get_frame()
