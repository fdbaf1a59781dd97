"""Tests of the assembly of messages from frames, without a broker."""

import asyncio
from contextlib import ExitStack
from typing import Any, cast

import pytest
from aiormq.abc import AbstractChannel
from aiormq.connection import FrameReceiver
from pamqp import frame
from pamqp.body import ContentBody
from pamqp.commands import Basic
from pamqp.header import ContentHeader
from pamqp.heartbeat import Heartbeat

from consumers.aiormq_internals import FrameReader
from consumers.deliveries import MessageAssembler, ReceivedMessage
from consumers.pamqp_internals import UNDECODABLE
from tests.consumers.chunks import feed, split

SUBSCRIBED, OTHER = 1, 2


class NumberedChannel:
    """A channel of which only the number is used."""

    number = SUBSCRIBED


def delivery(tag: int, *parts: bytes, number: int = SUBSCRIBED, properties: Basic.Properties | None = None) -> bytes:
    """Return the frames of a delivered message whose body has these parts."""
    method: Any = Basic.Deliver("consumer", tag, redelivered=tag % 2 == 0, exchange="runs", routing_key="run.completed")
    header = ContentHeader(0, sum(map(len, parts)), properties or Basic.Properties(headers={"tag": tag}))
    return b"".join(frame.marshal(each, number) for each in (method, header, *map(ContentBody, parts)))


OPEN_FRAME = frame.marshal(Basic.QosOk(), SUBSCRIBED)


async def read(data: bytes, chunk_bytes: int, count: int) -> tuple[list[ReceivedMessage], list[Any]]:
    """Return the assembled messages, and the first `count` frames of the library except heartbeats."""
    source, assembler = asyncio.StreamReader(), MessageAssembler()
    receiver = FrameReceiver(FrameReader(source, assembler))
    received: list[ReceivedMessage] = []
    frames: list[Any] = []
    with assembler.receiving(cast("AbstractChannel", NumberedChannel()), received.append):
        feeding = asyncio.create_task(feed(source, split(data, chunk_bytes)))
        while len(frames) < count:
            read_frame = (await receiver.get_frame())[1:]
            if not isinstance(read_frame[1], Heartbeat):
                frames.append(read_frame)
    await feeding
    return received, frames


@pytest.mark.parametrize("chunk_bytes", [1, 7, 10_000])
async def test_messages_do_not_depend_on_the_chunks_in_which_they_arrive(chunk_bytes: int) -> None:
    data = delivery(1, b"one") + delivery(2) + OPEN_FRAME + delivery(3, b"a", b"b" * 100, b"c") + OPEN_FRAME
    received, frames = await read(data, chunk_bytes, 2)
    assert [(message.delivery_tag, message.body) for message in received] == [
        (1, b"one"), (2, b""), (3, b"a" + b"b" * 100 + b"c"),
    ]  # fmt: skip
    assert [message.redelivered for message in received] == [False, True, False]
    assert [message.body_size for message in received] == [3, 0, 102]
    assert {message.routing_key for message in received} == {"run.completed"}
    assert [message.headers for message in received] == [{"tag": 1}, {"tag": 2}, {"tag": 3}]
    assert [type(read_frame) for _, read_frame in frames] == [Basic.QosOk] * 2


async def test_library_gets_the_messages_of_other_channels_between_the_frames_of_a_message() -> None:
    message, other = delivery(1, b"own", b" parts"), delivery(2, b"other", number=OTHER)
    middle = len(message) - len(frame.marshal(ContentBody(b" parts"), SUBSCRIBED))
    received, frames = await read(message[:middle] + other + message[middle:] + OPEN_FRAME, 10_000, 4)
    assert [message.body for message in received] == [b"own parts"]
    assert [(number, type(read_frame)) for number, read_frame in frames] == [
        (OTHER, Basic.Deliver), (OTHER, ContentHeader), (OTHER, ContentBody), (SUBSCRIBED, Basic.QosOk),
    ]  # fmt: skip


async def test_library_gets_a_message_that_the_broker_returns_on_a_subscribed_channel() -> None:
    returned: list[Any] = [
        Basic.Return(312, "NO_ROUTE", "", "queue"),
        ContentHeader(0, 4, Basic.Properties()),
        ContentBody(b"text"),
    ]
    data = b"".join(frame.marshal(each, SUBSCRIBED) for each in returned)
    received, frames = await read(delivery(1, b"one") + data + delivery(2, b"two") + OPEN_FRAME, 10_000, 4)
    assert [message.delivery_tag for message in received] == [1, 2]
    assert [type(read_frame) for _, read_frame in frames] == [Basic.Return, ContentHeader, ContentBody, Basic.QosOk]


async def test_undecodable_properties_of_an_assembled_message_are_repaired() -> None:
    undecodable = delivery(2, b"two", properties=Basic.Properties(expiration="soon", content_type="text/plain"))
    received, _ = await read(delivery(1, b"one") + undecodable + delivery(3, b"three") + OPEN_FRAME, 10_000, 1)
    assert [message.headers.get(UNDECODABLE) for message in received] == [None, "expiration", None]
    assert [message.content_type for message in received] == [None, "text/plain", None]
    assert [message.body for message in received] == [b"one", b"two", b"three"]


async def test_messages_show_the_library_that_the_connection_is_open() -> None:
    """The library closes a connection on which no frames arrive, and doesn't get those of messages."""
    source, assembler = asyncio.StreamReader(), MessageAssembler()
    receiver = FrameReceiver(FrameReader(source, assembler))
    with assembler.receiving(cast("AbstractChannel", NumberedChannel()), lambda _: None):
        source.feed_data(delivery(1, b"one"))
        assert isinstance((await receiver.get_frame())[2], Heartbeat)


async def test_channel_that_reuses_a_number_keeps_its_receiver() -> None:
    assembler = MessageAssembler()
    received: list[ReceivedMessage] = []
    with ExitStack() as later, ExitStack() as earlier:
        earlier.enter_context(assembler.receiving(cast("AbstractChannel", NumberedChannel()), lambda _: None))
        later.enter_context(assembler.receiving(cast("AbstractChannel", NumberedChannel()), received.append))
        earlier.close()
        source = asyncio.StreamReader()
        source.feed_data(delivery(1, b"one") + OPEN_FRAME)
        receiver = FrameReceiver(FrameReader(source, assembler))
        while not isinstance((await receiver.get_frame())[2], Basic.QosOk):
            pass
        assert [message.body for message in received] == [b"one"]
