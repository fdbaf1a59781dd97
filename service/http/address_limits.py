"""Limits of the requests of one client address, as token buckets in this process."""

import math
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from hashlib import sha256
from ipaddress import IPv6Address, ip_address
from typing import Final

from cachetools import LRUCache, TTLCache

from service.domain.errors import RateLimitExceeded, Unavailable
from service.identity.publishers.token_exchanges import ExchangeRefused

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


FAILED_EXCHANGE_BURST: Final = 100  # failed exchanges of one address, and its exchanges in progress
FAILED_EXCHANGES_PER_SECOND: Final = 0.5
_MAX_REFUSED: Final = 10_000
_REFUSED_S: Final = 3_600.0


class FailedExchangeLimit:
    """A limit per client address in this process. An accepted token costs nothing after its exchange.

    Beyond the limit, only authentic tokens are exchanged, so that jobs can continue although another client with the
    same address, such as that of a proxy, sends invalid tokens. A token that was refused gets no exchange for an hour.
    """

    def __init__(self) -> None:
        self._addresses = AddressLimit(
            "too many failed exchanges of ID tokens from this address",
            FAILED_EXCHANGE_BURST,
            FAILED_EXCHANGES_PER_SECOND,
        )
        self._refused: TTLCache[bytes, None] = TTLCache(_MAX_REFUSED, _REFUSED_S)

    @asynccontextmanager
    async def attempt(
        self, address: str | None, token: str, is_authentic: Callable[[], Awaitable[bool]]
    ) -> AsyncIterator[None]:
        """Spend a token of the address during the block, and keep it spent if the block fails.

        `is_authentic` returns whether the ID token is one of an issuer of a publisher, without a query for each token.
        An exchange doesn't fail if a publisher accepts the ID token, or if the service can't decide. Raises
        RateLimitExceeded.
        """
        signed = sha256(token.rpartition(".")[0].encode()).digest()  # others can write the same signature differently
        try:
            self._addresses.check(address)
        except RateLimitExceeded:
            if signed in self._refused or not await is_authentic():
                raise
        self._addresses.spend(address)
        try:
            yield
        except ExchangeRefused as refused:
            if refused.is_authentic:
                self._addresses.give_back(address)
            else:
                self._refused[signed] = None
            raise
        except Unavailable:
            self._addresses.give_back(address)
            raise
        self._addresses.give_back(address)
