"""The loss of the broker, of a channel, or of a subscription, as errors of few types."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Final

from aio_pika.abc import AbstractConnection
from aio_pika.exceptions import AMQPError, ChannelInvalidStateError

from consumers.aiormq_internals import is_closed
from consumers.connections import is_cancel_requested
from service.stopping import Stopped


class ConsumerLost(Exception):
    """The broker must deliver the messages again, on a new connection."""


BROKER_ERRORS: Final = (AMQPError, ChannelInvalidStateError, ConsumerLost)
LOSSES: Final = (*BROKER_ERRORS, OSError, TimeoutError)


@asynccontextmanager
async def losses_of(connection: AbstractConnection) -> AsyncIterator[None]:
    """Convert any error of a closed connection to ConsumerLost. The library raises various types or cancels calls."""
    try:
        yield
    except LOSSES:
        raise
    except asyncio.CancelledError as error:
        if is_cancel_requested():
            raise
        raise ConsumerLost("the connection was closed during a call") from error
    except Exception as error:
        if not is_closed(connection) or isinstance(error, Stopped):
            raise
        raise ConsumerLost(f"the connection was closed: {error!r}") from error
