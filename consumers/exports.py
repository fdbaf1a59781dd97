"""Export jobs: a message says that there is one, the store says whose turn it is, and a few run in the background."""

import asyncio
from collections.abc import Sequence
from typing import Final

from consumers.loops import repeat
from consumers.worker import DeadLetter, Delivery
from service.log import log
from service.usecases.run_export import Exporter

_POLL_S: Final = 2.0  # finds retries that come due and the jobs of workers that died


class Exporting:
    """Up to `slots` jobs at a time. A message is acked at once: jobs outlast what a broker would wait for."""

    def __init__(self, exporter: Exporter, slots: int, per_organization: int, stopping: asyncio.Event) -> None:
        self._exporter = exporter
        self._slots = slots
        self._per_organization = per_organization
        self._stopping = stopping
        self._wake = asyncio.Event()
        self._running: set[asyncio.Task[None]] = set()

    async def handle(self, deliveries: Sequence[Delivery]) -> list[DeadLetter | None]:
        """Takes the news that there are jobs; which ones is read from the store."""
        self._wake.set()
        return [None] * len(deliveries)

    async def run(self) -> None:
        """Until told to stop; what is under way then is given back, for another worker to take."""
        try:
            await repeat("exports", self._fill_slots, _POLL_S, self._stopping, self._wake)
        finally:
            for job in self._running:
                job.cancel()
            await asyncio.gather(*self._running, return_exceptions=True)

    async def _fill_slots(self) -> None:
        while len(self._running) < self._slots and not self._stopping.is_set():
            claimed = await self._exporter.claim(self._per_organization)
            if claimed is None:
                return
            job = asyncio.create_task(self._exporter.run(claimed))
            self._running.add(job)
            job.add_done_callback(self._free_slot)

    def _free_slot(self, job: "asyncio.Task[None]") -> None:
        self._running.discard(job)
        self._wake.set()
        if not job.cancelled() and (error := job.exception()):
            log.error("export_job_crashed", exc_info=error)
