"""Background tasks of a consumer: a message announces a task, and the database decides which worker leases it."""

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from typing import Final, Generic, Protocol, TypeVar

from consumers.loops import repeat
from consumers.messages import Delivery, HandlerOutcome
from service.log import log
from service.stopping import end_tasks
from service.tracing.spans import TraceContext, task_span

_POLL_S: Final = 2.0  # finds retries that became due, and tasks whose worker has crashed


class TracedTask(Protocol):
    """A leased task, with the trace context of the request that queued it."""

    @property
    def trace_context(self) -> TraceContext | None: ...


Leased = TypeVar("Leased", bound=TracedTask)


class TaskRunner(Generic[Leased]):
    """Runs up to `slots` leased tasks concurrently.

    A message is acknowledged immediately, because a task can take longer than the broker waits for an ack.
    """

    def __init__(
        self, name: str, lease: Callable[[], Awaitable[Leased | None]], run: Callable[[Leased], Awaitable[object]],
        slots: int, stopping: asyncio.Event,
    ) -> None:  # fmt: skip
        self._name = name
        self._lease = lease
        self._run = run
        self._slots = slots
        self._stopping = stopping
        self._wake = asyncio.Event()
        self._running: set[asyncio.Task[None]] = set()

    async def handle(self, deliveries: Sequence[Delivery]) -> list[HandlerOutcome]:
        """Wake the runner, which leases tasks from the database. Never rejects a message."""
        self._wake.set()
        return [None] * len(deliveries)

    async def run(self) -> None:
        """Run tasks until the process must stop. Then cancel the running ones, which releases their leases."""
        try:
            await repeat(self._name, self._fill_slots, _POLL_S, self._stopping, self._wake)
        finally:
            await end_tasks(self._running)

    async def _fill_slots(self) -> None:
        while len(self._running) < self._slots and not self._stopping.is_set():
            leased = await self._lease()
            if leased is None:
                return
            running = asyncio.create_task(self._run_one(leased))
            self._running.add(running)
            running.add_done_callback(self._free_slot)

    async def _run_one(self, leased: Leased) -> None:
        with task_span(self._name, leased.trace_context):
            await self._run(leased)

    def _free_slot(self, finished: "asyncio.Task[None]") -> None:
        self._running.discard(finished)
        self._wake.set()
        if not finished.cancelled() and (error := finished.exception()):
            log.error("job_crashed", jobs=self._name, exc_info=error)  # public names: `job` means a task here
