"""Delivered messages, assembled from their frames before the client library reads these.

The library needs several objects and two tasks for each message, which was a third of the CPU time of small events.
"""

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from struct import Struct
from typing import Any, Final

from aiormq.abc import AbstractChannel
from aiormq.exceptions import ChannelInvalidStateError
from pamqp import constants
from pamqp.commands import Basic
from pamqp.header import ContentHeader

_DELIVER: Final = Basic.Deliver.index.to_bytes(4)  # the start of the method frame
_TAG: Final = Struct(">QB")  # the delivery tag, and whether the broker delivers the message again


@dataclass(slots=True, eq=False)
class ReceivedMessage:
    """A message that a subscription received. Acknowledge it on the channel of the subscription.

    Messages with equal properties share one object, so don't change it.
    """

    delivery_tag: int
    redelivered: bool
    routing_key: str
    channel: AbstractChannel
    properties: Basic.Properties = field(default_factory=Basic.Properties)
    body: bytes = b""
    body_size: int = 0

    @property
    def headers(self) -> Mapping[str, Any]:
        """The headers of the producer and of the broker."""
        return self.properties.headers or {}

    @property
    def content_type(self) -> str | None:
        """The content type, or None."""
        return self.properties.content_type

    @property
    def content_encoding(self) -> str | None:
        """The content encoding, or None."""
        return self.properties.content_encoding

    @property
    def user_id(self) -> str | None:
        """The user that published the message, which the broker has verified, or None."""
        return self.properties.user_id

    async def ack(self, *, multiple: bool = False) -> None:
        """Acknowledge the message, with `multiple` also all earlier messages of the channel."""
        await self._open_channel().basic_ack(self.delivery_tag, multiple=multiple)

    async def requeue(self) -> None:
        """Return the message to its queue."""
        await self._open_channel().basic_nack(self.delivery_tag, requeue=True)

    def _open_channel(self) -> AbstractChannel:
        if self.channel.is_closed:
            raise ChannelInvalidStateError
        return self.channel


MessageReceiver = Callable[[ReceivedMessage], None]


@dataclass(slots=True)
class _Receiver:
    channel: AbstractChannel
    receive: MessageReceiver


@dataclass(slots=True)
class _Incoming:
    """A message of which some frames are missing."""

    message: ReceivedMessage
    receive: MessageReceiver
    missing_bytes: int = 0
    parts: list[bytes] = field(default_factory=list)


class MessageAssembler:
    """The subscribed channels of one connection, and their messages of which some frames are missing."""

    def __init__(self) -> None:
        self._receivers: dict[int, _Receiver] = {}
        self._incoming: dict[int, _Incoming] = {}

    @contextmanager
    def receiving(self, channel: AbstractChannel, receive: MessageReceiver) -> Iterator[None]:
        """Pass the messages of a channel to `receive` instead of the library. Close the channel before the block ends.

        Otherwise, the library would get the frames that arrive in between.
        """
        number, receiver = channel.number, _Receiver(channel, receive)
        self._receivers[number] = receiver
        try:
            yield
        finally:
            if self._receivers.get(number) is receiver:  # a new channel can have the number
                del self._receivers[number]
                self._incoming.pop(number, None)

    def starts(self, number: int, payload: bytes) -> bool:
        """Return whether the payload of a method frame starts a message of a subscribed channel, and read it."""
        receiver = self._receivers.get(number)
        if receiver is None or not payload.startswith(_DELIVER):
            return False
        message = _read_delivery(payload, receiver.channel)
        self._incoming[number] = _Incoming(message, receiver.receive)
        return True

    def adds_header(self, number: int, header: ContentHeader) -> bool:
        """Add the properties and the size of the body. Return False if the library must get the header."""
        incoming = self._incoming.get(number)
        if incoming is None:
            return False
        incoming.message.properties = header.properties
        incoming.message.body_size = incoming.missing_bytes = header.body_size
        self._pass_if_complete(number, incoming)
        return True

    def adds_body(self, frame_type: int, number: int, part: bytes) -> bool:
        """Add a part of the body. Return False if the frame has another type, or the library must get it."""
        incoming = self._incoming.get(number)
        if incoming is None or frame_type != constants.FRAME_BODY:
            return False
        incoming.parts.append(part)
        incoming.missing_bytes -= len(part)
        self._pass_if_complete(number, incoming)
        return True

    def _pass_if_complete(self, number: int, incoming: _Incoming) -> None:
        if incoming.missing_bytes > 0:
            return
        del self._incoming[number]
        incoming.message.body = b"".join(incoming.parts)
        incoming.receive(incoming.message)


def _read_delivery(payload: bytes, channel: AbstractChannel) -> ReceivedMessage:
    """Return the message without its content. The exchange and the consumer tag of the payload aren't used."""
    position = len(_DELIVER)
    position += 1 + payload[position]  # consumer tag
    delivery_tag, redelivered = _TAG.unpack_from(payload, position)
    position += _TAG.size
    position += 1 + payload[position]  # exchange
    routing_key = payload[position + 1 : position + 1 + payload[position]].decode(errors="replace")
    return ReceivedMessage(delivery_tag, bool(redelivered), routing_key, channel)
