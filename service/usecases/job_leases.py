"""Leases of claimed jobs: renew a lease while the worker runs, and release or postpone the job if the worker fails."""

import asyncio
import contextlib
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import dataclass
from datetime import timedelta

from service.domain.jobs import Claim
from service.log import log
from service.store.job_leases import JobTable
from service.store.postgres.database import DRIVER_ERRORS, Pool


class ClaimLost(Exception):
    """The claim is no longer valid: another worker has the job, or the job was canceled."""


@dataclass(frozen=True, slots=True)
class JobLease:
    """The lease of one claimed job. `renew_every_s` must be a small fraction of `duration`."""

    pool: Pool
    table: JobTable
    claim: Claim
    duration: timedelta
    renew_every_s: float

    @contextlib.asynccontextmanager
    async def renewing(self, columns: Callable[[], tuple[object, ...]] = tuple) -> AsyncIterator[None]:
        """Renew the lease while the block runs. Each renewal also stores the current `columns` of the job.

        If the claim is lost, the block is canceled and this context manager raises ClaimLost.
        """

        async def renew() -> bool:
            async with self.pool.acquire() as connection:
                return await self.table.renew_lease(connection, self.claim, self.duration, *columns())

        async with renewing_lease(renew, self.renew_every_s):
            yield

    async def release(self, delay: timedelta = timedelta()) -> None:
        """Return the job to the queue without counting the attempt. If that fails, the lease expires."""
        with contextlib.suppress(OSError, *DRIVER_ERRORS):
            async with self.pool.acquire() as connection:
                await self.table.release(connection, self.claim, delay)


@contextlib.asynccontextmanager
async def renewing_lease(renew: Callable[[], Awaitable[bool]], every_s: float) -> AsyncIterator[None]:
    """Call `renew` every `every_s` seconds while the block runs.

    If `renew` returns False, the block is canceled and ends with ClaimLost. An error of `renew` is logged and ignored,
    because the next call can succeed before the lease expires.
    """
    lost = False

    def cancel_block() -> None:
        nonlocal lost
        lost = True
        if block is not None:
            block.cancel()

    block = asyncio.current_task()
    renewals = asyncio.create_task(_renew_repeatedly(renew, every_s, cancel_block))
    try:
        yield
    except asyncio.CancelledError:
        if lost:
            raise ClaimLost from None
        raise
    finally:
        renewals.cancel()
        await asyncio.gather(renewals, return_exceptions=True)


async def _renew_repeatedly(renew: Callable[[], Awaitable[bool]], every_s: float, on_lost: Callable[[], None]) -> None:
    while True:
        await asyncio.sleep(every_s)
        try:
            if not await renew():
                return on_lost()
        except Exception as error:
            log.warning("lease_renewal_failed", error=repr(error))
