"""One simulation: processes, a producer, and failures that a seed selects; and the violations of what must be true."""

import asyncio
import random
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, Final

from structlog.testing import capture_logs

from consumers import broker as broker_module
from consumers.consume_loop import MessageSizes
from consumers.topology import Topology
from service.stopping import end_tasks
from tests.simulation.broker import QueuedMessage, SimulatedBroker
from tests.simulation.connections import SimulatedConnection
from tests.simulation.injections import inject_failures
from tests.simulation.processes import SimulatedProcess
from tests.simulation.store import StoredEvents
from tests.simulation.virtual_time import VirtualTimeLoop

RECOVERY_S: Final = 300.0  # afterwards, until each message has an outcome
STOP_LIMIT_S: Final = 36.0  # a drain of 17 s, and 18 s until a task that never ends is abandoned
_RESTART_S: Final = 1.0
_SIZES: Final[tuple[tuple[MessageSizes, ...], ...]] = (("mixed",), ("small", "large"))
_KINDS: Final = {"good": 30, "large": 3, "locked": 3, "invalid": 1, "defect": 1, "crash": 1}
_REASONS: Final = {"invalid": "refused_by_store", "defect": "internal_error", "crash": "crash_suspect"}


@dataclass
class World:
    """The state of one simulation."""

    rng: random.Random
    violations: list[str] = field(default_factory=list)
    published: list[str] = field(default_factory=list)
    processes: list[SimulatedProcess] = field(default_factory=list)  # that run now
    is_ending: bool = False

    def __post_init__(self) -> None:
        self.topology = Topology()
        self.broker = SimulatedBroker(self.rng, self.topology)
        self.events = StoredEvents(self.rng)
        self._sizes = self.rng.choice(_SIZES)

    async def run(self) -> None:
        """Publish messages during failures. Then wait until each message has an outcome, and stop all processes."""
        loop = asyncio.get_running_loop()
        supervisors = [loop.create_task(self._supervise(f"process {n}")) for n in range(self.rng.choice((1, 1, 2)))]
        failures = loop.create_task(inject_failures(self))
        await self._publish()
        await failures
        deadline_s = loop.time() + RECOVERY_S
        while not self._is_finished() and loop.time() < deadline_s:  # noqa: ASYNC110 - no event
            await asyncio.sleep(1)
        self._check_messages()
        self.violations += [f"{each.name} is not subscribed" for each in self.processes if not each.is_subscribed]
        self.is_ending = True
        await asyncio.gather(*(self.stop(process) for process in list(self.processes)))
        await end_tasks([*supervisors, *asyncio.all_tasks() - {asyncio.current_task()}])

    async def connect(self, url: str) -> SimulatedConnection:
        """Connect the process whose name is the URL."""
        await asyncio.sleep(self.rng.uniform(0.001, 0.01))
        process = next((each for each in self.processes if each.name == url and not each.store.is_dead), None)
        if process is None or self.broker.is_down:
            raise ConnectionRefusedError("no broker")
        connection = SimulatedConnection(self.broker, self.rng)
        process.connections = [each for each in process.connections if not each.is_closed]
        process.connections.append(connection)
        return connection

    async def stop(self, process: SimulatedProcess) -> None:
        """Stop a process as SIGTERM does. It must end within a limit."""
        process.stopping.set()
        await asyncio.wait(
            {process.task, asyncio.ensure_future(process.crashed.wait())},
            timeout=STOP_LIMIT_S,
            return_when=asyncio.FIRST_COMPLETED,
        )
        if not process.task.done() and not process.crashed.is_set():
            self.violations.append(f"{process.name} did not stop within {STOP_LIMIT_S:g} s")
            process.crash()

    async def _supervise(self, name: str) -> None:
        """Start a process, and start it again whenever it ends."""
        while not self.is_ending:
            process = SimulatedProcess(self.events, self.topology, name, self._sizes)
            self.processes.append(process)
            crash = asyncio.ensure_future(process.crashed.wait())
            await asyncio.wait({process.task, crash}, return_when=asyncio.FIRST_COMPLETED)
            crash.cancel()
            self.processes.remove(process)
            if not process.crashed.is_set():
                self._check_end(process)
            process.crash()
            process.task.cancel()
            await asyncio.sleep(_RESTART_S)

    def _check_end(self, process: SimulatedProcess) -> None:
        error = process.task.exception()
        if error is not None:
            self.violations.append(f"{process.name} ended with {error!r}")
        elif not process.stopping.is_set():
            self.violations.append(f"{process.name} ended without a stop")

    async def _publish(self) -> None:
        kinds = self.rng.choices(list(_KINDS), weights=list(_KINDS.values()), k=self.rng.randint(5, 40))
        for number, kind in enumerate(kinds):
            if self.rng.random() < 0.2:
                await asyncio.sleep(self.rng.expovariate(0.2))
            name = f"{kind}-{number}"
            self.published.append(name)
            self.broker.publish(self.topology.runs_queue, QueuedMessage(name.encode()))

    def _is_finished(self) -> bool:
        if not all(process.is_subscribed for process in self.processes):
            return False
        dead = {name for name, _ in self.broker.dead_letters}
        return self.broker.is_empty and all(name in dead or name in self.events.committed for name in self.published)

    def _check_messages(self) -> None:
        """Each message is stored or a dead letter with its reason, and none stays unacknowledged or a crash suspect."""
        dead = dict(self.broker.dead_letters)
        for name in self.published:
            expected = _REASONS.get(name.split("-")[0])
            if dead.get(name) != expected:
                self.violations.append(f"{name} has the dead letter {dead.get(name)} instead of {expected}")
            if expected is None and name not in self.events.committed:
                self.violations.append(f"{name} is not stored")
        if self.events.attempts:
            self.violations.append(f"crash suspects without a message: {self.events.attempts}")
        if not self.broker.is_empty:
            unacknowledged = [name for session in self.broker.sessions for _, name in session.unacknowledged.values()]
            self.violations.append(
                f"not acknowledged: {[message.name for message in unacknowledged]}, queues {self.broker.queues}"
            )


def simulate(seed: int, history: list[str] | None = None) -> list[str]:
    """Run one simulation, and return its violations. Adds the log lines to `history`."""
    random.seed(seed)  # also for the delays of retries
    loop = VirtualTimeLoop()
    asyncio.set_event_loop(None)
    loop.set_exception_handler(lambda _loop, _context: None)  # tasks that are abandoned
    connect: Callable[..., Any] = getattr(broker_module, "connect")  # noqa: B009 - mypy rejects the attribute
    try:
        with capture_logs() as logs:
            violations = loop.run_until_complete(_simulate(random.Random(seed), logs))
            if history is not None:
                history += [f"{entry}" for entry in logs]
            return violations
    finally:
        setattr(broker_module, "connect", connect)  # noqa: B010 - mypy rejects an assignment
        loop.close()


async def _simulate(rng: random.Random, logs: Any) -> list[str]:
    world = World(rng)
    setattr(broker_module, "connect", world.connect)  # noqa: B010
    await world.run()
    stalled = [entry for entry in logs if entry["event"] == "consumer_stalled"]
    return world.violations + ["a wait without a limit: the watchdog has ended it" for _ in stalled]
