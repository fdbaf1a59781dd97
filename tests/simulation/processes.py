"""Consumer processes of a simulation, which run the loops of the service until they stop or crash."""

import asyncio
from typing import Any, Final

from consumers.broker import run_on_broker
from consumers.consume_loop import BatchConsumer, MessageSizes
from consumers.isolation import Isolation
from consumers.loops import run_until_drained
from consumers.runs import runs_handler
from consumers.topology import Topology
from service.ingest.ingest_runs import RunIngest
from service.tasks.store import CrashSuspects
from tests.simulation.broker import BrokerSession
from tests.simulation.connections import SimulatedConnection
from tests.simulation.store import ProcessStore, StoredEvents

CONCURRENCY: Final = 3


class SimulatedProcess:
    """A process with the role runs. The code that it runs is that of the service."""

    def __init__(self, events: StoredEvents, topology: Topology, name: str, sizes: tuple[MessageSizes, ...]) -> None:
        self.name = name
        self.stopping = asyncio.Event()
        self.connections: list[SimulatedConnection] = []
        self.store = ProcessStore(events, self.crash)
        pool: Any = self.store
        self._isolation = Isolation(CrashSuspects(pool), asyncio.get_running_loop().time)
        handle = runs_handler(RunIngest(self.store, self.stopping))
        self._topology = topology
        self._consumers = [
            BatchConsumer(
                topology, topology.runs_queue, handle, self._isolation, self.stopping, size,
                1 if size == "large" else CONCURRENCY,
            )
            for size in sizes
        ]  # fmt: skip
        self.crashed = asyncio.Event()
        self.task = asyncio.create_task(self._run())

    @property
    def is_subscribed(self) -> bool:
        """Whether the broker has a subscription of each consumer, or, while these take turns, of one; and they know."""
        subscribed = [
            channel.session
            for connection in self.connections
            for channel in connection.channels
            if channel.session.consumer and not connection.is_closed
        ]
        expected = 1 if self._isolation.is_active else len(self._consumers)
        return len(subscribed) == expected and all(consumer.is_connected for consumer in self._consumers)

    def believes_in(self, session: BrokerSession) -> bool:
        """Return whether all consumers seem to be connected although the broker has canceled this subscription."""
        return (
            not session.consumer
            and any(
                channel.session is session and connection.responds
                for connection in self.connections
                for channel in connection.channels
            )
            and all(consumer.is_connected for consumer in self._consumers)
        )

    async def _run(self) -> None:
        await run_until_drained([self._consume], self.stopping, self.store.terminate)

    async def _consume(self) -> None:
        await run_on_broker(self.name, self._topology, self._consumers, self.stopping)

    def crash(self) -> None:
        """End the process as SIGKILL does: nothing that its tasks do afterwards has an effect."""
        self.store.is_dead = True
        for connection in self.connections:
            connection.reset()
        self.crashed.set()
