"""The cache of valid API keys. Authentication with a cached key needs no database query."""

from typing import Final

from cachetools import TTLCache

from service.domain.keys import Caller

TTL_S: Final = 4.0  # a revoked key must be rejected by every process within five seconds
MAX_KEYS: Final = 10_000

KeyCache = TTLCache[str, Caller]


def new_key_cache() -> KeyCache:
    """Return an empty cache. When the cache is full, it evicts the least recently used key."""
    return TTLCache(MAX_KEYS, TTL_S)
