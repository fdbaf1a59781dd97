"""The state of the object storage for /readyz, which clients without a key can request at any rate."""

import asyncio
import time
from typing import Final

from service.resources import check_storage
from service.storage import Storage

_MAX_AGE_S: Final = 5.0


class StorageHealth:
    """Checks the storage at most once in 5 s."""

    def __init__(self, storage: Storage) -> None:
        self._storage = storage
        self._lock = asyncio.Lock()
        self._expires_at = 0.0
        self._is_up = False

    async def is_up(self) -> bool:
        """Return whether the storage can be used. A failed check logs its reason."""
        async with self._lock:
            if time.monotonic() >= self._expires_at:
                self._is_up = await check_storage(self._storage)
                self._expires_at = time.monotonic() + _MAX_AGE_S
        return self._is_up
