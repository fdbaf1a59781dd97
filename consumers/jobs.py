"""Background jobs of a consumer: a message announces a job, and the database decides which worker claims it."""

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from typing import Final, Generic, Protocol, TypeVar

from consumers.loops import repeat
from consumers.messages import Delivery, HandlerOutcome
from service.log import log
from service.stopping import end_tasks
from service.tracing.spans import TraceContext, job_span

_POLL_S: Final = 2.0  # finds retries that became due, and jobs whose worker has crashed


class TracedJob(Protocol):
    """A claimed job, with the trace context of the request that queued it."""

    @property
    def trace_context(self) -> TraceContext | None: ...


Job = TypeVar("Job", bound=TracedJob)


class JobRunner(Generic[Job]):
    """Runs up to `slots` claimed jobs concurrently.

    A message is acknowledged immediately, because a job can take longer than the broker waits for an ack.
    """

    def __init__(
        self, name: str, claim: Callable[[], Awaitable[Job | None]], run: Callable[[Job], Awaitable[object]],
        slots: int, stopping: asyncio.Event,
    ) -> None:  # fmt: skip
        self._name = name
        self._claim = claim
        self._run = run
        self._slots = slots
        self._stopping = stopping
        self._wake = asyncio.Event()
        self._running: set[asyncio.Task[None]] = set()

    async def handle(self, deliveries: Sequence[Delivery]) -> list[HandlerOutcome]:
        """Wake the runner, which claims jobs from the database. Never rejects a message."""
        self._wake.set()
        return [None] * len(deliveries)

    async def run(self) -> None:
        """Run jobs until the process must stop. Then cancel the running jobs, which releases their claims."""
        try:
            await repeat(self._name, self._fill_slots, _POLL_S, self._stopping, self._wake)
        finally:
            await end_tasks(self._running)

    async def _fill_slots(self) -> None:
        while len(self._running) < self._slots and not self._stopping.is_set():
            claimed = await self._claim()
            if claimed is None:
                return
            job = asyncio.create_task(self._run_one(claimed))
            self._running.add(job)
            job.add_done_callback(self._free_slot)

    async def _run_one(self, claimed: Job) -> None:
        with job_span(self._name, claimed.trace_context):
            await self._run(claimed)

    def _free_slot(self, job: "asyncio.Task[None]") -> None:
        self._running.discard(job)
        self._wake.set()
        if not job.cancelled() and (error := job.exception()):
            log.error("job_crashed", jobs=self._name, exc_info=error)
