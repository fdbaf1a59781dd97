"""The limit of lookups of unknown API keys. Each lookup of a key that isn't cached costs a database query."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Final

from cachetools import TTLCache

from service.api.http.address_limits import AddressLimit
from service.domain.errors import Unauthorized

BURST: Final = 200  # unknown keys of one address
PER_SECOND: Final = 20
_CONCURRENT_LOOKUPS: Final = 8
_MAX_PROVEN_KEYS: Final = 10_000
_PROVEN_S: Final = 3_600.0


class UnknownKeyLimit:
    """A limit per client address in this process. Only the lookup of an unknown key costs a token.

    A few lookups run concurrently, and the others wait, so that many requests with valid keys aren't rejected after a
    start. A key that was valid within the last hour needs no token and doesn't wait, so that clients with valid keys
    can continue although another client with the same address, such as that of a proxy, sends unknown keys.
    """

    def __init__(self, message: str = "Authorization: too many unknown API keys") -> None:
        self.addresses = AddressLimit(message, BURST, PER_SECOND)
        self._slots = asyncio.Semaphore(_CONCURRENT_LOOKUPS)
        self._proven: TTLCache[str, None] = TTLCache(_MAX_PROVEN_KEYS, _PROVEN_S)

    @asynccontextmanager
    async def lookup(self, address: str | None, key: str) -> AsyncIterator[None]:
        """Permit the lookup of a key during the block, and spend a token if the block raises Unauthorized.

        Raises RateLimitExceeded if the address has no token.
        """
        try:
            if key in self._proven:
                yield
            else:
                async with self._slots:
                    self.addresses.check(address)
                    yield
        except Unauthorized:
            self.addresses.spend(address)
            self._proven.pop(key, None)
            raise
        self._proven[key] = None
