"""Limits of the requests of one API key that a process serves concurrently."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Final
from weakref import WeakValueDictionary

from service.domain.errors import RateLimitExceeded

_RETRY_AFTER_S: Final = 5


class KeyLimit:
    """At most `limit` concurrent requests of one kind per API key. Other requests wait at most `wait_s`."""

    def __init__(self, setting: str, limit: int, wait_s: float = 0.0) -> None:
        self._setting = setting
        self._limit = limit
        self._wait_s = wait_s
        self._slots: WeakValueDictionary[str, asyncio.Semaphore] = WeakValueDictionary()  # of keys with requests

    @asynccontextmanager
    async def slot(self, credential_id: str) -> AsyncIterator[None]:
        """Occupy a slot of the key during the block. Raises RateLimitExceeded if no slot becomes free in time."""
        slots = self._slots.get(credential_id)
        if slots is None:
            self._slots[credential_id] = slots = asyncio.Semaphore(self._limit)
        try:
            async with asyncio.timeout(self._wait_s):
                await slots.acquire()
        except TimeoutError:
            message = f"the API key already has {self._limit} concurrent requests of this kind ({self._setting})"
            raise RateLimitExceeded(f"{message}; retry in {_RETRY_AFTER_S} s", _RETRY_AFTER_S) from None
        try:
            yield
        finally:
            slots.release()
