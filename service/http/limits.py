"""The limits of one process: requests of a client address, unknown keys, failed exchanges, and concurrent requests."""

import asyncio
import math
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Collection
from contextlib import AsyncExitStack, asynccontextmanager
from hashlib import sha256
from ipaddress import IPv6Address, ip_address
from typing import ClassVar, Final
from weakref import WeakValueDictionary

from cachetools import LRUCache, TTLCache

from service.domain.errors import RateLimitExceeded, Unauthorized, Unavailable
from service.identity.publishers.token_exchanges import ExchangeRefused

_MAX_ADDRESSES: Final = 10_000
_IPV6_NETWORK_BITS: Final = 64  # one client usually has a complete network of this size

_CONCURRENT_LOOKUPS: Final = 8  # of unknown keys
_MAX_PROVEN_KEYS: Final = 10_000
_PROVEN_S: Final = 3_600.0
_QUERY_EVERY_S: Final = 0.25  # for the keys of addresses without a token
_MAX_WAITING: Final = 500  # of these keys; more than the requests that a process can answer in this time

_MAX_REFUSED: Final = 10_000  # ID tokens
_REFUSED_S: Final = 3_600.0

_RETRY_AFTER_S: Final = 5  # for a key with too many concurrent requests

FindValid = Callable[[Collection[str]], Awaitable[Collection[str]]]  # returns the valid keys among the given ones


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


class UnknownKeyLimit:
    """A limit per client address in this process. Only the lookup of an unknown key costs a token.

    A few lookups run concurrently, and the others wait, so that many requests with valid keys aren't rejected after a
    start. A key that was valid within the last hour needs no token and doesn't wait, so that clients with valid keys
    can continue although another client with the same address, such as the address of a proxy, sends unknown keys. If
    the address has no token, other keys wait for the next of a few queries, which finds the valid keys among all of
    them.
    """

    BURST: ClassVar = 200  # unknown keys of one address
    PER_SECOND: ClassVar = 20.0

    def __init__(self, message: str = "Authorization: too many unknown API keys") -> None:
        self.addresses = AddressLimit(message, self.BURST, self.PER_SECOND)
        self._slots = asyncio.Semaphore(_CONCURRENT_LOOKUPS)
        self._proven: TTLCache[str, None] = TTLCache(_MAX_PROVEN_KEYS, _PROVEN_S)
        self._waiting: set[str] = set()
        self._query: asyncio.Task[Collection[str]] | None = None  # of the keys that wait
        self._one_query = asyncio.Lock()

    @asynccontextmanager
    async def lookup(self, address: str | None, key: str, find_valid: FindValid | None = None) -> AsyncIterator[None]:
        """Permit the lookup of a key during the block, and spend a token if the block raises Unauthorized.

        Raises RateLimitExceeded if the address has no token, unless `find_valid` finds the key.
        """
        async with AsyncExitStack() as slot:
            if key not in self._proven:
                await slot.enter_async_context(self._slots)
                try:
                    self.addresses.check(address)
                except RateLimitExceeded:
                    await slot.aclose()
                    if find_valid is None or not await self._is_valid(key, find_valid):
                        raise
            try:
                yield
            except Unauthorized:
                self.addresses.spend(address)
                self._proven.pop(key, None)
                raise
            self._proven[key] = None

    async def _is_valid(self, key: str, find_valid: FindValid) -> bool:
        """Wait for the next query, and return whether it finds the key. Return False if too many keys wait."""
        if len(self._waiting) >= _MAX_WAITING:
            return False
        self._waiting.add(key)
        if self._query is None:
            self._query = asyncio.create_task(self._find_waiting(find_valid))
            # Otherwise, the event loop reports the error of the query if all waiting requests were canceled.
            self._query.add_done_callback(lambda done: None if done.cancelled() else done.exception())
        return key in await asyncio.shield(self._query)

    async def _find_waiting(self, find_valid: FindValid) -> Collection[str]:
        async with self._one_query:
            await asyncio.sleep(_QUERY_EVERY_S)
            keys, self._waiting, self._query = self._waiting, set(), None
            return await find_valid(keys)


class FailedExchangeLimit:
    """A limit per client address in this process. An accepted token costs nothing after its exchange.

    Beyond the limit, only authentic tokens are exchanged, so that jobs can continue although another client with the
    same address, such as the address of a proxy, sends invalid tokens. A token that was refused gets no exchange for an
    hour.
    """

    BURST: ClassVar = 100  # failed exchanges of one address, and its exchanges in progress
    PER_SECOND: ClassVar = 0.5

    def __init__(self) -> None:
        message = "too many failed exchanges of ID tokens from this address"
        self._addresses = AddressLimit(message, self.BURST, self.PER_SECOND)
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
