"""Messages as handlers get them, the outcomes of handlers, and the copies that consumers publish for each outcome."""

import struct
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from hashlib import sha256
from typing import Any, Final

from aio_pika import DeliveryMode, Message
from aio_pika.abc import AbstractIncomingMessage
from pamqp import encode

from consumers.deliveries import ReceivedMessage
from consumers.metrics import DEAD_LETTERS
from service.domain.ids import new_id
from service.domain.texts import replace_unstorable
from service.log import log

PRODUCER: Final = "x-producer-user-id"  # of a copy that the service publishes: the user of the original message
MAX_HEADER_BYTES: Final = 64 * 2**10  # of all headers; they share one frame of 128 KiB with the other properties
LARGE_BYTES: Final = 256 * 2**10  # moving a larger message takes much less time than handling it

_DELIVERY_COUNT: Final = "x-delivery-count"
_REASON_LENGTH: Final = 1_000
_MAX_DEPTH: Final = 20
_MAX_NAME_BYTES: Final = 128
_OMITTED: Final = "(omitted)"
_OMITTED_COUNT: Final = "x-omitted-headers"
_ENCODING_ERRORS: Final = (TypeError, ValueError, ArithmeticError, struct.error)

# Names of headers that brokers and consumers add. The original message didn't have them.
_ADDED: Final = (
    PRODUCER, "x-reason", "x-message", "x-queue", "x-delivery-count", "x-acquired-count",
    "x-death", "x-first-death-", "x-last-death-",
)  # fmt: skip


@dataclass(frozen=True, slots=True)
class Delivery:
    """A message, independent of its transport (RabbitMQ or the embedded queue).

    `producer` is the RabbitMQ user that sent it, or None if the message doesn't state it.
    """

    body: bytes
    content_type: str | None
    headers: Mapping[str, Any]
    producer: str | None = None


@dataclass(frozen=True, slots=True)
class Rejection:
    """The reason why a message can never be stored, so that it becomes a dead letter."""

    reason: str
    message: str


@dataclass(frozen=True, slots=True)
class Postponement:
    """The reason why a message can't be stored yet, although the messages after it can."""

    message: str


HandlerOutcome = Rejection | Postponement | None  # None: the message is stored

# A handler returns one outcome per delivery. It retries during an outage, and raises Stopped if the process must stop.
# After any other error, each message is delivered again alone, and the message that causes the error is rejected.
MessageHandler = Callable[[Sequence[Delivery]], Awaitable[Sequence[HandlerOutcome]]]


def report_dead_letter(queue: str, rejection: Rejection) -> None:
    """Count and log a message that became a dead letter."""
    DEAD_LETTERS.labels(queue, rejection.reason).inc()
    log.warning("message_dead_lettered", queue=queue, reason=rejection.reason, message=rejection.message)


def is_suspect(message: ReceivedMessage) -> bool:
    """Return whether an earlier delivery wasn't acknowledged, so that the message might have crashed its consumer."""
    count = message.headers.get(_DELIVERY_COUNT, 0)
    return message.redelivered and isinstance(count, int) and count >= 1


def body_sha256(message: ReceivedMessage) -> bytes:
    """Return the SHA-256 of the body, which identifies a crash suspect."""
    return sha256(message.body).digest()


def to_delivery(message: ReceivedMessage, own_user: str) -> Delivery:
    """Return the message without its transport."""
    return Delivery(message.body, message.content_type, message.headers, find_producer(message, own_user))


def dead_letter(message: ReceivedMessage, rejection: Rejection, own_user: str) -> Message:
    """Return a copy of the message with the reason in its headers."""
    added = {
        "x-reason": rejection.reason,
        "x-message": rejection.message[:_REASON_LENGTH],
        "x-queue": message.routing_key,
    }
    copied = _copy(message, original_headers(message.headers) | encodable_headers(added), own_user)
    copied.message_id = new_id("dead")
    copied.timestamp = datetime.now(UTC)
    return copied


def original_message(message: ReceivedMessage | AbstractIncomingMessage, own_user: str) -> Message:
    """Return the message as its producer published it, to be published again."""
    return _copy(message, original_headers(message.headers), own_user)


def find_producer(message: ReceivedMessage | AbstractIncomingMessage, own_user: str) -> str | None:
    """Return the RabbitMQ user that published the message, or None if the message doesn't state it.

    The broker permits only the user of the connection in `user_id`. So the header of a copy counts only if the service
    has published the copy: a producer can set the header, but not the user of the service.
    """
    if message.user_id is None or message.user_id != own_user:
        return message.user_id
    return str(message.headers.get(PRODUCER, own_user))


def _copy(message: ReceivedMessage | AbstractIncomingMessage, headers: dict[str, Any], own_user: str) -> Message:
    """Return a copy that names the producer of the message. A copy of a message without a user has none either."""
    producer = find_producer(message, own_user)
    return Message(
        message.body,
        headers=headers if producer is None else {**headers, PRODUCER: producer},
        content_type=message.content_type,
        content_encoding=message.content_encoding,
        delivery_mode=DeliveryMode.PERSISTENT,
        user_id=None if producer is None else own_user,
    )


def original_headers(headers: Mapping[str, Any]) -> dict[str, Any]:
    """Return the headers that the producer set, ready to be published."""
    return encodable_headers({name: value for name, value in headers.items() if not name.startswith(_ADDED)})


def encodable_headers(headers: Mapping[str, Any]) -> dict[str, Any]:
    """Return headers that AMQP can encode and that fit into a frame.

    A value that has no encoding becomes text. If the headers are too large, the largest ones are omitted and counted.
    """
    encodable = {_encodable_name(name): _encodable(value, _MAX_DEPTH) for name, value in headers.items()}
    sizes = {name: len(encode.field_table({name: value})) for name, value in encodable.items()}
    excess = sum(sizes.values()) - MAX_HEADER_BYTES
    omitted = 0
    for name in sorted(sizes, key=sizes.__getitem__, reverse=True):
        if excess <= 0:
            break
        excess -= sizes[name]
        del encodable[name]
        omitted += 1
    return {**encodable, _OMITTED_COUNT: omitted} if omitted else encodable


def _encodable_name(name: str) -> str:
    encoded = replace_unstorable(name).encode()
    return encoded[:_MAX_NAME_BYTES].decode(errors="ignore")


def _encodable(value: Any, depth: int) -> Any:
    if isinstance(value, dict | list) and depth == 0:
        return _OMITTED
    if isinstance(value, dict):
        return {_encodable_name(name): _encodable(item, depth - 1) for name, item in value.items()}
    if isinstance(value, list):
        return [_encodable(item, depth - 1) for item in value]
    if isinstance(value, str):
        return replace_unstorable(value)
    if isinstance(value, bytes):
        return bytearray(value)  # long strings that aren't UTF-8 arrive as bytes
    return value if _keeps_value(value) else str(value)


def _keeps_value(value: Any) -> bool:
    """Return whether the encoding exists and is exact. Floats are encoded with 32 bits."""
    try:
        encode.encode_table_value(value)
        return (
            not isinstance(value, float) or value != value or struct.unpack(">f", struct.pack(">f", value))[0] == value
        )
    except _ENCODING_ERRORS:
        return False
