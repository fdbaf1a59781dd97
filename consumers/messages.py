"""Messages as handlers get them, the outcomes of handlers, and the copies that consumers publish for each outcome."""

from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from hashlib import sha256
from typing import Any, Final

from aio_pika import DeliveryMode, Message
from aio_pika.abc import AbstractIncomingMessage

from consumers.deliveries import ReceivedMessage
from consumers.headers import PRODUCER, encodable_headers, original_headers
from consumers.metrics import DEAD_LETTERS
from service.domain.ids import new_id
from service.log import log

LARGE_BYTES: Final = 256 * 2**10  # moving a larger message takes much less time than handling it

_DELIVERY_COUNT: Final = "x-delivery-count"
_REASON_LENGTH: Final = 1_000


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
