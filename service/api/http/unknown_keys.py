"""The limit of lookups of unknown API keys. Each lookup of a key that isn't cached costs a database query."""

import asyncio
import math
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from ipaddress import IPv6Address, ip_address
from typing import Final

from cachetools import LRUCache, TTLCache

from service.domain.errors import RateLimitExceeded, Unauthorized

BURST: Final = 200  # unknown keys of one address
PER_SECOND: Final = 20
_CONCURRENT_LOOKUPS: Final = 8
_MAX_ADDRESSES: Final = 10_000
_MAX_PROVEN_KEYS: Final = 10_000
_PROVEN_S: Final = 3_600.0
_IPV6_NETWORK_BITS: Final = 64  # one client usually has a complete network of this size


class UnknownKeyLimit:
    """A token bucket per client address in this process. Only the lookup of an unknown key costs a token.

    A few lookups run concurrently, and the others wait, so that many requests with valid keys aren't rejected after a
    start. A key that was valid within the last hour needs no token and doesn't wait, so that clients with valid keys
    can continue although another client with the same address, such as that of a proxy, sends unknown keys.
    """

    def __init__(self) -> None:
        self._slots = asyncio.Semaphore(_CONCURRENT_LOOKUPS)
        self._buckets: LRUCache[str, tuple[float, float]] = LRUCache(_MAX_ADDRESSES)  # tokens, and their time
        self._proven: TTLCache[str, None] = TTLCache(_MAX_PROVEN_KEYS, _PROVEN_S)

    @asynccontextmanager
    async def lookup(self, address: str | None, key: str) -> AsyncIterator[None]:
        """Permit the lookup of a key during the block, and spend a token if the block raises Unauthorized.

        Raises RateLimitExceeded if the address has no token.
        """
        network = _network(address)
        try:
            if key in self._proven:
                yield
            else:
                async with self._slots:
                    self._check(network)
                    yield
        except Unauthorized:
            self._buckets[network] = self._tokens(network) - 1, time.monotonic()
            self._proven.pop(key, None)
            raise
        self._proven[key] = None

    def _check(self, network: str) -> None:
        tokens = self._tokens(network)
        if tokens < 1:
            wait_s = math.ceil((1 - tokens) / PER_SECOND)
            raise RateLimitExceeded(f"Authorization: too many unknown API keys; retry in {wait_s} s", wait_s)

    def _tokens(self, network: str) -> float:
        tokens, counted_at = self._buckets.get(network, (BURST, time.monotonic()))
        return min(BURST, tokens + (time.monotonic() - counted_at) * PER_SECOND)


def _network(address: str | None) -> str:
    """Return the address, or the network of an IPv6 address. Clients of a Unix socket share an empty address."""
    parsed = ip_address(address) if address else None
    if isinstance(parsed, IPv6Address) and parsed.ipv4_mapped is None:
        return f"{int(parsed) >> (128 - _IPV6_NETWORK_BITS):x}/{_IPV6_NETWORK_BITS}"
    return str(parsed or "")
