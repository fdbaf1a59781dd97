"""Limits of the requests of one client address, as token buckets in this process."""

import math
import time
from ipaddress import IPv6Address, ip_address
from typing import Final

from cachetools import LRUCache

from service.domain.errors import RateLimitExceeded

_MAX_ADDRESSES: Final = 10_000
_IPV6_NETWORK_BITS: Final = 64  # one client usually has a complete network of this size


class AddressLimit:
    """A token bucket per client address: `burst` tokens, to which `per_second` tokens return each second."""

    def __init__(self, message: str, burst: int, per_second: float) -> None:
        self.per_second = per_second
        self._message = message
        self._burst = burst
        self._buckets: LRUCache[str, tuple[float, float]] = LRUCache(_MAX_ADDRESSES)  # tokens, and their time

    def check(self, address: str | None) -> None:
        """Raise RateLimitExceeded if the address has no token."""
        tokens = self._tokens(_network(address))
        if tokens < 1:
            wait_s = math.ceil((1 - tokens) / self.per_second)
            raise RateLimitExceeded(f"{self._message}; retry in {wait_s} s", wait_s)

    def spend(self, address: str | None) -> None:
        """Remove a token of the address. Concurrent requests can leave a negative number of tokens."""
        network = _network(address)
        self._buckets[network] = self._tokens(network) - 1, time.monotonic()

    def give_back(self, address: str | None) -> None:
        """Return a token that was spent."""
        network = _network(address)
        self._buckets[network] = min(self._burst, self._tokens(network) + 1), time.monotonic()

    def _tokens(self, network: str) -> float:
        tokens, counted_at = self._buckets.get(network, (self._burst, time.monotonic()))
        return min(self._burst, tokens + (time.monotonic() - counted_at) * self.per_second)


def _network(address: str | None) -> str:
    """Return the address, or the network of an IPv6 address. Clients of a Unix socket share an empty address."""
    parsed = ip_address(address) if address else None
    if isinstance(parsed, IPv6Address) and parsed.ipv4_mapped is None:
        return f"{int(parsed) >> (128 - _IPV6_NETWORK_BITS):x}/{_IPV6_NETWORK_BITS}"
    return str(parsed or "")
