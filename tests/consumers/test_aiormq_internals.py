"""The internals of aio-pika and aiormq that the consumers use are those of the installed versions."""

import asyncio
from typing import Any

import aio_pika
import aiormq
from aiormq.connection import FrameReceiver, TCPTransportFactory, TLSTransportFactory, TransportFactory
from yarl import URL

from tests.internals import assert_unchanged, parameters

LIBRARIES = ("aio-pika", "aiormq")
MODULE = "consumers/aiormq_internals.py"


class RecordingReader:
    """A reader that records which methods of StreamReader the library calls."""

    def __init__(self, source: asyncio.StreamReader) -> None:
        self._source = source
        self.calls: set[str] = set()

    def __getattr__(self, name: str) -> Any:
        self.calls.add(name)
        return getattr(self._source, name)


class RecordingTransportFactory(TransportFactory):
    """A factory of a TCP connection with a recording reader."""

    async def create(self, url: URL, **options: Any) -> Any:
        source, writer = await TCPTransportFactory().create(url, **options)
        self.reader = RecordingReader(source)
        return self.reader, writer


class RecordingTransport(aio_pika.Connection):
    """A connection whose transport is set in the way of the consumers."""

    def __init__(self, *arguments: Any, **options: Any) -> None:
        super().__init__(*arguments, **options)
        self.factory = self.kwargs["transport_factory"] = RecordingTransportFactory()


async def ignore(_: Any) -> None:
    pass


async def test_aiormq_has_the_internals_that_the_consumers_use(amqp_url: str) -> None:
    connection: Any = await aio_pika.connect(amqp_url, connection_class=RecordingTransport)
    transport = connection.transport
    async with connection.channel(publisher_confirms=True) as opened:
        queue = await opened.declare_queue(exclusive=True)
        await queue.consume(ignore)
        await opened.default_exchange.publish(aio_pika.Message(b"text"), queue.name)
        channel = await opened.get_underlay_channel()
        assert_unchanged(LIBRARIES, MODULE, {
            "Connection passes kwargs to its transport": lambda: connection.factory.reader,
            "the library calls at_eof and readexactly only": lambda: (
                connection.factory.reader.calls == {"at_eof", "readexactly"}
            ),
            "an open connection has transport.connection.is_closed": lambda: transport.connection.is_closed is False,
            "a channel has a number from 1": lambda: channel.number >= 1,
            "a channel has is_closed": lambda: channel.is_closed is False,
            "basic_ack": lambda: {"delivery_tag", "multiple"} <= set(parameters(channel.basic_ack)),
            "basic_nack": lambda: {"delivery_tag", "requeue"} <= set(parameters(channel.basic_nack)),
        })  # fmt: skip
    await connection.close()
    first = aiormq.Connection("amqp://127.0.0.1/?heartbeat=1&heartbeat=2")
    assert_unchanged(LIBRARIES, MODULE, {
        "a closed connection has transport.connection.is_closed": lambda: transport.connection.is_closed is True,
        "TransportFactory.create(url, **kwargs)": lambda: (
            parameters(TransportFactory.create)
            == parameters(TCPTransportFactory.create)
            == parameters(TLSTransportFactory.create)
            == ["url", "kwargs"]
        ),
        "FrameReceiver(reader)": lambda: parameters(FrameReceiver) == ["reader"],
        "the first heartbeat of a URL applies": lambda: first.heartbeat_timeout == 1,
    })  # fmt: skip
