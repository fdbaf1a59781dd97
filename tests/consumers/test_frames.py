"""Tests of the reader that repairs AMQP frames, without a broker."""

import asyncio
from collections.abc import Iterable
from datetime import UTC, datetime

import pytest
from aiormq.connection import FrameReceiver
from pamqp import frame
from pamqp.body import ContentBody
from pamqp.commands import Basic
from pamqp.header import ContentHeader

from consumers.aiormq_internals import FrameReader
from consumers.deliveries import MessageAssembler
from consumers.pamqp_internals import UNDECODABLE
from tests.consumers.chunks import feed, split

DECODABLE = frame.marshal(ContentHeader(0, 4, Basic.Properties(timestamp=datetime(2026, 5, 1, tzinfo=UTC))), 1)
TIMESTAMP = int(datetime(2026, 5, 1, tzinfo=UTC).timestamp()).to_bytes(8, "big")
UNREADABLE = DECODABLE.replace(TIMESTAMP, b"\x7f" * 8)
BODY = frame.marshal(ContentBody(b"text"), 1)


async def read_messages(chunks: Iterable[bytes], count: int) -> list[tuple[ContentHeader, bytes]]:
    source = asyncio.StreamReader()
    receiver = FrameReceiver(FrameReader(source, MessageAssembler()))
    feeding = asyncio.create_task(feed(source, chunks))
    messages = []
    for _ in range(count):
        header, body = (await receiver.get_frame())[2], (await receiver.get_frame())[2]
        assert isinstance(header, ContentHeader)
        assert isinstance(body, ContentBody)
        messages.append((header, body.value))
    await feeding
    return messages


@pytest.mark.parametrize("size", [1, 3, 10_000])
async def test_frames_do_not_depend_on_the_chunks_in_which_they_arrive(size: int) -> None:
    data = (DECODABLE + BODY) * 3
    messages = await read_messages(split(data, size), 3)
    assert [body for _, body in messages] == [b"text"] * 3
    assert {header.properties.timestamp for header, _ in messages} == {datetime(2026, 5, 1, tzinfo=UTC)}


async def test_undecodable_properties_are_repaired_after_decodable_and_equal_ones() -> None:
    """The reader skips the check of properties that equal the last ones that can be decoded, and only of those."""
    messages = await read_messages([DECODABLE + BODY + (UNREADABLE + BODY) * 2 + DECODABLE + BODY], 4)
    repaired = [(header.properties.headers or {}).get(UNDECODABLE) for header, _ in messages]
    assert repaired == [None, "timestamp", "timestamp", None]


async def test_end_of_the_stream_within_a_frame_is_an_error_of_the_connection() -> None:
    source = asyncio.StreamReader()
    source.feed_data(DECODABLE[:-1])
    source.feed_eof()
    with pytest.raises(asyncio.IncompleteReadError):
        await FrameReader(source, MessageAssembler()).readexactly(len(DECODABLE))
