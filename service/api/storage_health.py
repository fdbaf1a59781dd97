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
        self._error: str | None = None

    async def find_error(self) -> str | None:
        """Return the reason why the storage can't be used, or None. A failed check logs the reason."""
        async with self._lock:
            if time.monotonic() >= self._expires_at:
                self._error = await check_storage(self._storage)
                self._expires_at = time.monotonic() + _MAX_AGE_S
        return self._error
