"""The cache of valid API keys, and the lookups of keys that aren't cached."""

import asyncio
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Collection, Coroutine
from contextlib import AsyncExitStack, asynccontextmanager
from typing import Any, Final, Generic, NamedTuple, TypeVar

from cachetools import TTLCache

from service.domain.errors import RateLimitExceeded, Unauthorized
from service.http.address_limits import AddressLimit
from service.identity.keys.model import Caller

TTL_S: Final = 4.0  # a revoked key must be rejected by every process within five seconds
_REFRESH_S: Final = 3.0  # a key in use is checked again before it expires, so that no request waits
MAX_KEYS: Final = 10_000


class CachedCaller(NamedTuple):
    """The caller of a valid key, and the monotonic time after which the next request starts another lookup."""

    caller: Caller
    refresh_at: float

    @property
    def is_current(self) -> bool:
        """Whether the key needs no lookup yet."""
        return time.monotonic() < self.refresh_at


KeyCache = TTLCache[str, CachedCaller]
FoundByKey = TypeVar("FoundByKey")


def new_key_cache() -> KeyCache:
    """Return an empty cache. When the cache is full, it evicts the least recently used key."""
    return TTLCache(MAX_KEYS, TTL_S)


def cached_caller(caller: Caller) -> CachedCaller:
    """Return the cache entry of a key after its lookup."""
    return CachedCaller(caller, time.monotonic() + _REFRESH_S)


class KeyLookups(Generic[FoundByKey]):
    """The lookups in progress. Concurrent requests with the same key, or with the same session, share one lookup.

    Hundreds of streams of one key check it when the cached entry expires. With a lookup for each stream, other
    organizations would wait for a database connection.
    """

    def __init__(self) -> None:
        self._tasks: dict[str, asyncio.Task[FoundByKey]] = {}

    async def find(self, key: str, query: Callable[[], Coroutine[Any, Any, FoundByKey]]) -> FoundByKey:
        """Return the result of `query` or of the lookup in progress, or raise its error.

        A cancellation of one caller doesn't end the lookup of the others.
        """
        return await asyncio.shield(self.start(key, query))

    def start(self, key: str, query: Callable[[], Coroutine[Any, Any, FoundByKey]]) -> asyncio.Task[FoundByKey]:
        """Start the lookup of a key, or return the one in progress."""
        task = self._tasks.get(key)
        if task is None:
            task = self._tasks[key] = asyncio.create_task(query())
            task.add_done_callback(lambda done: self._remove(key, done))
        return task

    def _remove(self, key: str, done: asyncio.Task[FoundByKey]) -> None:
        del self._tasks[key]
        if not done.cancelled():
            done.exception()  # otherwise, the event loop reports the error if all callers were canceled


UNKNOWN_KEY_BURST: Final = 200  # unknown keys of one address
UNKNOWN_KEYS_PER_SECOND: Final = 20
_CONCURRENT_LOOKUPS: Final = 8
_MAX_PROVEN_KEYS: Final = 10_000
_PROVEN_S: Final = 3_600.0
_QUERY_EVERY_S: Final = 0.25  # for the keys of addresses without a token
_MAX_WAITING: Final = 500  # of these keys; more than the requests that a process can answer in this time

FindValid = Callable[[Collection[str]], Awaitable[Collection[str]]]  # returns those of the keys that are valid


class UnknownKeyLimit:
    """A limit per client address in this process. Only the lookup of an unknown key costs a token.

    A few lookups run concurrently, and the others wait, so that many requests with valid keys aren't rejected after a
    start. A key that was valid within the last hour needs no token and doesn't wait, so that clients with valid keys
    can continue although another client with the same address, such as that of a proxy, sends unknown keys. If the
    address has no token, other keys wait for the next of a few queries, which finds the valid ones of all of them.
    """

    def __init__(self, message: str = "Authorization: too many unknown API keys") -> None:
        self.addresses = AddressLimit(message, UNKNOWN_KEY_BURST, UNKNOWN_KEYS_PER_SECOND)
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
