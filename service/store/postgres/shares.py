"""The share of a connection pool that one organization can use."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
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

    @asynccontextmanager
    async def slot(self, org_id: OrgId, timeout_s: float) -> AsyncIterator[None]:
        """Occupy one connection of the share during the block. Raises Unavailable if none becomes free in time."""
        slots = self._slots.get(org_id)
        if slots is None:
            self._slots[org_id] = slots = asyncio.Semaphore(self._limit)
        await _acquire(slots, timeout_s)
        try:
            yield
        finally:
            slots.release()


async def _acquire(slots: asyncio.Semaphore, timeout_s: float) -> None:
    if not slots.locked():
        await slots.acquire()  # without a timer, because it doesn't wait
        return
    try:
        async with asyncio.timeout(timeout_s):
            await slots.acquire()
    except TimeoutError:
        raise Unavailable("the organization has too many concurrent requests; try again later") from None
