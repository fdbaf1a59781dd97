"""The cache of valid API keys, and the lookups of keys that aren't cached."""

import asyncio
import time
from collections.abc import Callable, Coroutine
from typing import Any, Final, Generic, NamedTuple, TypeVar

from cachetools import TTLCache

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
