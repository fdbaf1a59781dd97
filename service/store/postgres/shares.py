"""The share of a connection pool that one organization can use."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from weakref import WeakValueDictionary

from service.domain.errors import Unavailable
from service.domain.ids import OrgId


class OrganizationShares:
    """Limits the connections that one organization uses at the same time to three quarters of the pool.

    One connection isn't counted, because it listens for notifications. Further queries of the organization wait for its
    earlier ones, so that a connection is free for the queries of others.
    """

    def __init__(self, connections: int) -> None:
        self._limit = max(1, (connections - 1) * 3 // 4)
        self._slots: WeakValueDictionary[OrgId, asyncio.Semaphore] = WeakValueDictionary()  # of busy organizations

    def slot(self, org_id: OrgId, timeout_s: float) -> AbstractAsyncContextManager[None]:
        """Occupy one connection of the share during the block. Raises Unavailable if none becomes free in time."""
        slots = self._slots.get(org_id)
        if slots is None:
            self._slots[org_id] = slots = asyncio.Semaphore(self._limit)
        return _slot_in_time(slots, timeout_s) if slots.locked() else slots


@asynccontextmanager
async def _slot_in_time(slots: asyncio.Semaphore, timeout_s: float) -> AsyncIterator[None]:
    try:
        async with asyncio.timeout(timeout_s):
            await slots.acquire()
    except TimeoutError:
        raise Unavailable("the organization has too many concurrent requests; try again later") from None
    try:
        yield
    finally:
        slots.release()
