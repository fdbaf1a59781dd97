"""Leases of tasks: a worker renews its lease while it runs, and releases or postpones the task if it fails."""

import asyncio
import contextlib
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import dataclass
from datetime import timedelta
from time import monotonic
from typing import Final

from service.database.database import Pool
from service.database.errors import DRIVER_ERRORS, is_conflict, is_missing_right
from service.log import log
from service.stopping import end_tasks, raise_if_canceled
from service.tasks.model import Lease
from service.tasks.store import TaskTable

_RENEWAL_TIMEOUT_S: Final = 10.0  # a suspended server must not delay the renewal on the server that replaces it
_MAX_GAP_S: Final = 20.0  # in a contact; shorter than each lease


class LeaseLost(Exception):
    """The lease is no longer valid: another worker has the task, or the task was canceled."""


class DatabaseContact:
    """Measures how long a worker has reached the database without a gap.

    After an outage, the leases of all workers have expired. With an immediate takeover, the outage would
    count as a crash of the other worker, which renews its lease as soon as it reaches the database.
    """

    def __init__(self) -> None:
        self._since = 0.0
        self._last = 0.0

    def record(self) -> None:
        """Record that the worker reaches the database at this time."""
        now = monotonic()
        if now - self._last > _MAX_GAP_S:
            self._since = now
        self._last = now

    def has_lasted(self, duration: timedelta) -> bool:
        """Return whether the last contact began at least `duration` before it was recorded."""
        return self._last - self._since >= duration.total_seconds()


@dataclass(frozen=True, slots=True)
class RenewableLease:
    """A lease that its worker renews or releases. `renew_every_s` must be a small fraction of `duration`."""

    pool: Pool
    table: TaskTable
    lease: Lease
    duration: timedelta
    renew_every_s: float

    @contextlib.asynccontextmanager
    async def renewing(self, columns: Callable[[], tuple[object, ...]] = tuple) -> AsyncIterator[None]:
        """Renew the lease while the block runs. Each renewal also stores the current `columns` of the task.

        If the lease is lost, the block is canceled and this context manager raises LeaseLost.
        """

        async def renew() -> bool:
            async with self.pool.acquire() as connection:
                return await self.table.renew_lease(connection, self.lease, self.duration, *columns())

        async with renewing_lease(renew, self.renew_every_s):
            yield

    async def release(self, delay: timedelta = timedelta()) -> None:
        """Return the task to the queue without counting the attempt. If that fails, the lease expires."""
        with contextlib.suppress(OSError, *DRIVER_ERRORS):
            async with self.pool.acquire() as connection:
                await self.table.release(connection, self.lease, delay)


@contextlib.asynccontextmanager
async def renewing_lease(renew: Callable[[], Awaitable[bool]], every_s: float) -> AsyncIterator[None]:
    """Call `renew` every `every_s` seconds while the block runs.

    If `renew` returns False, the block is canceled and ends with LeaseLost. An error of `renew` is logged and ignored,
    because the next call can succeed before the lease expires.
    """
    block = asyncio.timeout(None)  # not a time limit: it cancels the block, and withdraws the cancellation at the end

    def cancel_block() -> None:
        with contextlib.suppress(RuntimeError):  # the block has ended
            block.reschedule(0)

    renewals = asyncio.create_task(_renew_repeatedly(renew, every_s, cancel_block))
    try:
        async with block:
            yield
    except TimeoutError:
        if block.expired():
            raise LeaseLost from None
        raise
    finally:
        await end_tasks([renewals])


async def _renew_repeatedly(renew: Callable[[], Awaitable[bool]], every_s: float, on_lost: Callable[[], None]) -> None:
    while True:
        await asyncio.sleep(every_s)
        try:
            async with asyncio.timeout(_RENEWAL_TIMEOUT_S):
                is_leased = await renew()
            if not is_leased:
                return on_lost()
        except Exception as error:
            raise_if_canceled()
            log.warning("lease_renewal_failed", error=repr(error))


def log_temporary(error: BaseException, **fields: object) -> None:
    """Log an error after which the work is repeated, with its cause: a conflict, a missing permission, or an outage."""
    fields["error"] = repr(error)
    if is_conflict(error):
        log.warning("database_conflict", **fields)
    elif is_missing_right(error):
        log.warning("database_permission_missing", **fields)
    else:
        log.warning("database_unreachable", **fields)
