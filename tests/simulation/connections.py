"""Connections of the simulated broker with the interface of the client library that the consumers use."""

import asyncio
import random
from collections import deque
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from types import SimpleNamespace
from typing import Any, Final

from aio_pika.exceptions import AMQPConnectionError, ChannelInvalidStateError
from yarl import URL

from consumers.broker import BrokerConnection
from consumers.deliveries import MessageReceiver, ReceivedMessage
from service.stopping import within
from tests.simulation.broker import HEARTBEAT_LOSS_S, BrokerConsumer, BrokerSession, QueuedMessage, SimulatedBroker

_LATENCY_S: Final = (0.0001, 0.003)
_STEP_S: Final = 1e-6  # between two actions, because timers of the same time have no order
_CLOSE_LIMIT_S: Final = 5.0


class Link:
    """One direction of a connection, which keeps the order of what is sent, and can stall."""

    def __init__(self, rng: random.Random) -> None:
        self._loop = asyncio.get_running_loop()
        self._rng = rng
        self._last_s = 0.0
        self._waiting: deque[Callable[[], None]] = deque()
        self.is_stalled = False
        self.is_closed = False

    def send(self, action: Callable[[], None]) -> None:
        self._last_s = max(self._last_s + _STEP_S, self._loop.time() + self._rng.uniform(*_LATENCY_S))
        self._loop.call_at(self._last_s, self._arrive, action)

    def _arrive(self, action: Callable[[], None]) -> None:
        if self.is_closed:
            return
        if self.is_stalled or self._waiting:
            self._waiting.append(action)
        else:
            action()

    def resume(self) -> None:
        self.is_stalled = False
        while self._waiting and not self.is_closed:
            self._waiting.popleft()()


class SimulatedConnection(BrokerConnection):
    """A connection to the simulated broker. The limits of its calls are those of the service."""

    def __init__(self, broker: SimulatedBroker, rng: random.Random) -> None:
        self.url = URL("amqp://127.0.0.1/")
        self.broker = broker
        self.rng = rng
        self.assembler: Any = Assembler()
        self.transport: Any = SimpleNamespace(connection=self)
        self.requests, self.responses = Link(rng), Link(rng)
        self.channels: list[SimulatedChannel] = []
        self._is_closed = False
        self._heartbeats: list[asyncio.TimerHandle] = []

    @property
    def is_closed(self) -> bool:
        return self._is_closed

    @property
    def responds(self) -> bool:
        """Whether the connection is open and not stalled."""
        return not (self.is_closed or self.requests.is_closed or self.requests.is_stalled)

    def channel(self, *_: Any, **__: Any) -> Any:
        return SimulatedChannel(self)

    def observe_progress(self, interval_s: float) -> Callable[[], bool]:
        return lambda: False  # messages arrive at once, so that no transfer extends a call

    async def __aenter__(self) -> "SimulatedConnection":
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.close()

    async def close(self, exc: Any = None) -> None:
        with suppress(TimeoutError, AMQPConnectionError, ChannelInvalidStateError):
            if not self.is_closed:
                await within(_CLOSE_LIMIT_S, SimulatedChannel(self).request(lambda: None), self.terminate)
        self.terminate()

    def terminate(self) -> None:
        """Close the connection. The broker notices it now, or later if the connection is stalled."""
        if not self.requests.is_stalled:
            self._end_sessions()
        self._end_client()

    def reset(self) -> None:
        """Close the connection, and let both sides notice it."""
        self._end_sessions()
        self._end_client()

    def stall(self, duration_s: float, *, client_notices: bool) -> None:
        """Forward nothing. After three heartbeats, the broker notices it, and so does the client or not."""
        if self.is_closed or self.requests.is_stalled:
            return
        self.requests.is_stalled = self.responses.is_stalled = True
        loop = asyncio.get_running_loop()
        self._heartbeats.append(loop.call_later(HEARTBEAT_LOSS_S, self._end_sessions))
        if client_notices:
            self._heartbeats.append(loop.call_later(HEARTBEAT_LOSS_S, self._end_client))
        if duration_s < HEARTBEAT_LOSS_S:
            loop.call_later(duration_s, self._resume)
        elif duration_s < 2 * HEARTBEAT_LOSS_S:
            loop.call_later(duration_s, self._end_client)  # the broker has closed the connection meanwhile

    def _resume(self) -> None:
        for timer in self._heartbeats:
            timer.cancel()
        if self.is_closed:
            return self._end_sessions()
        self.requests.resume()
        return self.responses.resume()

    def _end_sessions(self) -> None:
        self.requests.is_closed = True
        for channel in self.channels:
            channel.session.close()

    def _end_client(self) -> None:
        self._is_closed = self.responses.is_closed = True
        for channel in self.channels:
            channel.fail()


class Assembler:
    """The part of the message assembler that the consumers call."""

    @contextmanager
    def receiving(self, channel: "SimulatedChannel", receive: MessageReceiver) -> Iterator[None]:
        channel.receive = receive
        yield


class SimulatedChannel:
    """A channel, also with the methods of the library's channel, queue, and exchange that the consumers call."""

    def __init__(self, connection: SimulatedConnection) -> None:
        self._connection = connection
        self._broker = connection.broker
        self._closed: asyncio.Future[bool] = asyncio.get_running_loop().create_future()
        self._pending: dict[asyncio.Future[Any], None] = {}
        self.session = BrokerSession(connection.broker)
        self.receive: MessageReceiver = lambda _: None
        self.on_consumer_cancel_callbacks: set[Callable[[Any], None]] = set()
        self.close_callbacks: set[Any] = set()
        connection.channels.append(self)
        if connection.is_closed:
            self.fail()

    @property
    def is_closed(self) -> bool:
        return self._closed.done()

    @property
    def default_exchange(self) -> Any:
        return self

    def closed(self) -> Any:
        return asyncio.shield(self._closed)

    async def request(self, effect: Callable[[], Any]) -> Any:
        """Let the broker execute a request, and return its response."""
        if self.is_closed:
            raise ChannelInvalidStateError("closed")
        response = asyncio.get_running_loop().create_future()
        self._pending[response] = None
        links = self._connection

        def respond(value: Any) -> None:
            if not response.done():
                response.set_result(value)

        def execute() -> None:
            value = effect()
            links.responses.send(lambda: respond(value))

        links.requests.send(execute)
        try:
            return await response
        finally:
            self._pending.pop(response, None)

    def fail(self) -> None:
        """Close the channel for the client. The library raises various errors in waiting calls, or cancels them."""
        if not self._closed.done():
            self._closed.set_result(True)
        for response in list(self._pending):
            if response.done():
                continue
            if self._connection.rng.random() < 0.3:
                response.cancel()
            else:
                response.set_exception(AMQPConnectionError("reset"))

    async def initialize(self) -> None:
        await self.request(lambda: None)

    async def close(self) -> None:
        if not self.is_closed:
            with suppress(AMQPConnectionError, ChannelInvalidStateError):
                await self.request(self.session.close)
            self.fail()

    async def get_underlay_channel(self) -> Any:
        return self

    async def get_exchange(self, *_: Any, **__: Any) -> Any:
        return self

    async def get_queue(self, name: str, **_: Any) -> Any:
        return SimpleNamespace(consume=lambda _: self._consume(name), cancel=self._cancel, bind=self.bind)

    async def declare_exchange(self, *_: Any, **__: Any) -> Any:
        return self

    async def bind(self, *_: Any, **__: Any) -> None: ...

    async def declare_queue(self, name: str, *, passive: bool = False, **_: Any) -> Any:
        if not passive:
            return self
        queue = self._broker.queues[name]
        counts = await self.request(lambda: (len(queue), self._broker.count_consumers(name)))
        return SimpleNamespace(declaration_result=SimpleNamespace(message_count=counts[0], consumer_count=counts[1]))

    async def set_qos(self, prefetch_count: int) -> None:
        def set_prefetch_count() -> None:
            self.session.prefetch_count = prefetch_count

        await self.request(set_prefetch_count)

    async def _consume(self, queue: str) -> str:
        def subscribe() -> str:
            self.session.consumer = BrokerConsumer(queue, self.session.prefetch_count, self._deliver, self._notify)
            self._broker.deliver()
            return "consumer"

        tag: str = await self.request(subscribe)
        return tag

    async def _cancel(self, _: str) -> None:
        def unsubscribe() -> None:
            self.session.consumer = None

        await self.request(unsubscribe)

    def _notify(self) -> None:
        """Send basic.cancel to the client."""

        def call_back() -> None:
            for callback in self.on_consumer_cancel_callbacks:
                callback(None)

        self._connection.responses.send(call_back)

    def _deliver(self, tag: int, message: QueuedMessage) -> None:
        headers = dict(message.headers)
        if message.delivery_count:
            headers["x-delivery-count"] = message.delivery_count
        properties: Any = SimpleNamespace(headers=headers, content_type=None, content_encoding=None, user_id=None)
        channel: Any = self
        received = ReceivedMessage(
            tag, message.is_redelivered, "run.completed", channel, properties, message.body, message.size
        )
        self._connection.responses.send(lambda: self.receive(received))

    async def publish(self, message: Any, routing_key: str, **_: Any) -> None:
        published = QueuedMessage(message.body, dict(message.headers))
        await self.request(lambda: self._broker.publish(routing_key, published))

    async def basic_ack(self, tag: int, *, multiple: bool = False) -> None:
        self._connection.requests.send(lambda: self.session.acknowledge(tag, multiple=multiple))

    async def basic_nack(self, tag: int, **_: Any) -> None:
        self._connection.requests.send(lambda: self.session.requeue(tag))
