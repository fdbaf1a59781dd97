"""The workers of a Citus cluster, which work for an organization checks.

Work for an organization ends soon if its worker of a cluster hangs or is unreachable. A worker that hangs, such as a
frozen machine, keeps its connections open. A statement that waits for it ends at a timeout, its process on the
coordinator waits further even then, and each connection of a pool would repeat this. Nothing on the coordinator limits
this wait, except for a new connection to a worker.
"""

import asyncio
import time
from collections.abc import Awaitable, Callable
from typing import Final, TypeVar, cast

from service.database.database import BoundedPool, Pool
from service.database.errors import DRIVER_ERRORS, is_unreachable_worker
from service.database.shares import Worker
from service.domain.ids import OrgId
from service.log import log
from service.stopping import end_tasks

T = TypeVar("T")

_CHECK_EVERY_S: Final = 5.0  # during work, which normally takes less
_REMEMBERED_S: Final = 30.0
_MESSAGE: Final = "the database server with the rows of the organization doesn't respond"


class WorkerUnavailable(ConnectionError):
    """The worker with the rows of an organization doesn't respond. Other organizations can have other workers."""


class WorkerChecks:
    """Checks the workers for the work of one process, and remembers for some time which ones don't respond."""

    def __init__(self, pool: Pool) -> None:
        self._pool = cast("BoundedPool", pool)
        self._unavailable: dict[Worker, float] = {}  # until when

    async def find_worker(self, org_id: OrgId) -> Worker | None:
        """Return the worker with the rows of an organization, or None if all organizations are on one server."""
        return await self._pool.find_worker(org_id) if self._pool.engine.is_distributed else None

    async def while_available(self, org_id: OrgId, work: Callable[[], Awaitable[T]]) -> T:
        """Return the result of the work. Raises WorkerUnavailable if the worker doesn't respond before or meanwhile.

        The work is then canceled. After that, work for this worker isn't started for some time.
        """
        worker = await self.find_worker(org_id)
        if worker is None:
            return await work()
        await self._check_unavailable(worker)
        working = asyncio.ensure_future(work())
        try:
            while not (await asyncio.wait({working}, timeout=_CHECK_EVERY_S))[0]:
                await self._check(worker)
            return working.result()
        except Exception as error:
            if is_unreachable_worker(error):  # this one, or another one if the work has created a partition
                await self._check(worker)
            raise
        finally:
            await end_tasks([working])

    async def _check_unavailable(self, worker: Worker) -> None:
        """Raise WorkerUnavailable if the worker didn't respond recently. Check it again after some time."""
        until_s = self._unavailable.get(worker)
        if until_s is None:
            return
        if until_s > time.monotonic():
            raise WorkerUnavailable(_MESSAGE)
        self._unavailable[worker] = time.monotonic() + _REMEMBERED_S  # for concurrent work, which doesn't check it
        await self._check(worker)

    async def _check(self, worker: Worker) -> None:
        """Raise WorkerUnavailable if the worker accepts no connection. An outage of the coordinator shows nothing."""
        try:
            if await self._pool.can_reach(worker):
                self._unavailable.pop(worker, None)
                return
        except (OSError, *DRIVER_ERRORS):
            return
        log.warning("database_worker_unavailable", host=worker.host, port=worker.port)
        self._unavailable[worker] = time.monotonic() + _REMEMBERED_S
        raise WorkerUnavailable(_MESSAGE)
