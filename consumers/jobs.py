"""Jobs: a message says that there is one, the store says whose turn it is, and a few run in the background."""

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from typing import Final, Generic, TypeVar

from consumers.loops import repeat
from consumers.worker import Delivery, Rejection
from service.log import log

_POLL_S: Final = 2.0  # finds retries that come due and the jobs of workers that died

Job = TypeVar("Job")


class Jobs(Generic[Job]):
    """Up to `slots` jobs at a time. A message is acked at once: jobs outlast what a broker would wait for."""

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

    async def handle(self, deliveries: Sequence[Delivery]) -> list[Rejection | None]:
        """Takes the news that there are jobs; which ones is read from the store."""
        self._wake.set()
        return [None] * len(deliveries)

    async def run(self) -> None:
        """Until told to stop; what is under way then is given back, for another worker to take."""
        try:
            await repeat(self._name, self._fill_slots, _POLL_S, self._stopping, self._wake)
        finally:
            for job in self._running:
                job.cancel()
            await asyncio.gather(*self._running, return_exceptions=True)

    async def _fill_slots(self) -> None:
        while len(self._running) < self._slots and not self._stopping.is_set():
            claimed = await self._claim()
            if claimed is None:
                return
            job = asyncio.create_task(self._run_one(claimed))
            self._running.add(job)
            job.add_done_callback(self._free_slot)

    async def _run_one(self, claimed: Job) -> None:
        await self._run(claimed)

    def _free_slot(self, job: "asyncio.Task[None]") -> None:
        self._running.discard(job)
        self._wake.set()
        if not job.cancelled() and (error := job.exception()):
            log.error("job_crashed", jobs=self._name, exc_info=error)
