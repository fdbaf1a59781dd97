"""The commands `dead-letters list`, `show`, `replay`, and `discard`, with messages that the library can't decode."""

import asyncio
import os
import struct
import sys
from hashlib import sha256

import pytest

from tests.consumers.raw_messages import publish_raw, short_string
from tests.fixtures.broker import Broker

NANOSECONDS = struct.pack(">Q", 1_780_000_000_000_000_000)
MICROSECONDS = struct.pack(">Q", 1_780_000_000_000_000)
UNDECODABLE = {
    b"nanoseconds": ("timestamp", {"timestamp": NANOSECONDS}),
    b"microseconds": ("timestamp", {"timestamp": MICROSECONDS}),
    b"type": ("content_type", {"content_type": short_string(b"\xff\xfe")}),
}
READABLE = [b"first", b"last"]


async def publish_dead(broker: Broker, body: bytes, **properties: bytes) -> None:
    """Publish a message directly to the dead-letter queue, as the broker does for a message without an ack."""
    dead_queue = broker.topology.dead_queue(broker.topology.runs_queue)
    await publish_raw(broker.url, "", dead_queue, body, delivery_mode=b"\x02", **properties)


@pytest.fixture
async def dead_letters(broker: Broker) -> Broker:
    """A dead-letter queue with undecodable messages between two others."""
    await publish_dead(broker, READABLE[0])
    for body, (_, properties) in UNDECODABLE.items():
        await publish_dead(broker, body, **properties)
    await publish_dead(broker, READABLE[1])
    return broker


def id_of(body: bytes) -> str:
    return sha256(body).hexdigest()[:12]


async def run(broker: Broker, *arguments: str) -> tuple[str, str]:
    """Run the command, and return its stdout and stderr."""
    environment = {**os.environ, "RESULTS_AMQP_URL": broker.url, "RESULTS_QUEUE_PREFIX": broker.topology.prefix}
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "consumers", "dead-letters", *arguments, env=environment,
        stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.PIPE,
    )  # fmt: skip
    out, err = await process.communicate()
    assert process.returncode == 0, err.decode()
    return out.decode(), err.decode()


async def depth(broker: Broker) -> int:
    return await broker.depth(broker.topology.dead_queue(broker.topology.runs_queue))


async def test_list_names_what_it_cannot_read(dead_letters: Broker) -> None:
    out, err = await run(dead_letters, "list")
    lines = {line.split()[0]: line for line in out.splitlines()}
    assert lines.keys() == {id_of(body) for body in (*UNDECODABLE, *READABLE)}
    for body, (name, _) in UNDECODABLE.items():
        assert lines[id_of(body)].endswith(f"(unreadable properties: {name})"), body
    assert not any("unreadable" in lines[id_of(body)] for body in READABLE)
    assert "dead letters: 5" in err


@pytest.mark.slow
async def test_show_prints_messages_around_and_with_undecodable_properties(dead_letters: Broker) -> None:
    assert await run(dead_letters, "show", id_of(b"last")) == ("last\n", "unknown: dead-lettered by the broker\n")
    out, err = await run(dead_letters, "show", id_of(b"nanoseconds"))
    assert out == "nanoseconds\n"
    assert "unreadable properties: timestamp" in err


@pytest.mark.slow
async def test_replay_and_discard_of_the_others_leave_the_undecodable_messages(dead_letters: Broker) -> None:
    await run(dead_letters, "replay", id_of(b"last"))
    await run(dead_letters, "discard", id_of(b"first"))
    assert await dead_letters.depth(dead_letters.topology.runs_queue) == 1
    assert await depth(dead_letters) == len(UNDECODABLE)


@pytest.mark.slow
async def test_undecodable_messages_can_be_replayed_and_discarded(dead_letters: Broker) -> None:
    await run(dead_letters, "replay", id_of(b"nanoseconds"))
    assert await dead_letters.depth(dead_letters.topology.runs_queue) == 1
    await run(dead_letters, "discard", "--all", "--yes")
    assert await depth(dead_letters) == 0
