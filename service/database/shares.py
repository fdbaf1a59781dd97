"""The share of a connection pool that one organization, and one worker of a Citus cluster, can use."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Hashable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from typing import Generic, NamedTuple, TypeVar
from weakref import WeakValueDictionary

from service.domain.errors import Unavailable
from service.domain.ids import OrgId

Owner = TypeVar("Owner", bound=Hashable)


class Worker(NamedTuple):
    """A server of a Citus cluster, which has the rows of some organizations."""

    host: str
    port: int


class PoolShares:
    """Limits the connections that an organization, and all organizations of a worker, use at the same time.

    One connection isn't counted, because it listens for notifications. An organization can use three quarters of the
    others. All organizations of one worker leave at least a quarter to those of other workers: a worker that hangs
    keeps its connections open, and each query of its organizations waits until a timeout. Further queries wait for
    earlier ones of the same organization or worker, so that a connection is free for the queries of others.
    """

    def __init__(self, connections: int, find_worker: Callable[[OrgId], Awaitable[Worker]] | None) -> None:
        counted = connections - 1
        self._organizations = _Shares[OrgId](max(1, counted * 3 // 4), "the organization")
        reserved = max(1, counted // 4)
        self._workers = _Shares[Worker](max(1, counted - reserved), "the database server of the organization")
        self._find_worker = find_worker  # None: one server has the rows of all organizations

    def slot(self, org_id: OrgId, timeout_s: float) -> AbstractAsyncContextManager[None]:
        """Occupy one connection of the share during the block. Raises Unavailable if none becomes free in time."""
        slot = self._organizations.slot(org_id, timeout_s)
        return slot if self._find_worker is None else self._slot_of_worker(self._find_worker, org_id, slot, timeout_s)

    @asynccontextmanager
    async def _slot_of_worker(
        self,
        find_worker: Callable[[OrgId], Awaitable[Worker]],
        org_id: OrgId,
        slot: AbstractAsyncContextManager[None],
        timeout_s: float,
    ) -> AsyncIterator[None]:
        worker = await find_worker(org_id)
        async with slot, self._workers.slot(worker, timeout_s):
            yield


class _Shares(Generic[Owner]):
    """The slots of each owner that is busy."""

    def __init__(self, limit: int, description: str) -> None:
        self._limit = limit
        self._description = description
        self._slots: WeakValueDictionary[Owner, asyncio.Semaphore] = WeakValueDictionary()

    def slot(self, owner: Owner, timeout_s: float) -> AbstractAsyncContextManager[None]:
        slots = self._slots.get(owner)
        if slots is None:
            self._slots[owner] = slots = asyncio.Semaphore(self._limit)
        return self._slot_in_time(slots, timeout_s) if slots.locked() else slots

    @asynccontextmanager
    async def _slot_in_time(self, slots: asyncio.Semaphore, timeout_s: float) -> AsyncIterator[None]:
        try:
            async with asyncio.timeout(timeout_s):
                await slots.acquire()
        except TimeoutError:
            raise Unavailable(f"{self._description} has too many concurrent requests; try again later") from None
        try:
            yield
        finally:
            slots.release()
