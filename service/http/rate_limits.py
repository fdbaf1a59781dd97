"""Rate limits of a key, and of an organization with all of its keys."""

import asyncio
import time
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Final, NamedTuple

from aiohttp import web
from cachetools import TLRUCache
from limits import RateLimitItem, parse
from limits.aio.storage import RedisStorage
from limits.errors import StorageError

from service.domain.errors import RateLimitExceeded
from service.identity.keys.model import Caller
from service.log import log
from service.processes import MissingSetting
from service.settings import Settings

if TYPE_CHECKING:
    from redis.asyncio import BlockingConnectionPool

_OFF: Final = "off"
_PREFIX: Final = "zof-results"
_MAX_WINDOWS: Final = 100_000  # counted in one process; beyond it, the least recently used one starts again
_CONNECTIONS: Final = 16
_TIMEOUT_S: Final = 0.25  # the longest delay of a request by a slow or unreachable Redis
_RETRY_INTERVAL_S: Final = 1.0  # while Redis is unreachable, one request per interval contacts it


class RateLimitStatus(NamedTuple):
    """The remaining requests of a limit. `reset_s` is the end of the window in Unix time."""

    remaining: int
    limit: int
    length_s: int
    reset_s: int


RATE_LIMIT_STATUS: Final = web.RequestKey("rate_limit_status", RateLimitStatus)


class Window(NamedTuple):
    """A time window in which requests are counted. The key identifies the counted object and the window."""

    key: str
    length_s: int


class RateLimitCounters:
    """The counters of this process."""

    def __init__(self) -> None:
        self._counts: TLRUCache[Window, int] = TLRUCache(_MAX_WINDOWS, _expires_at)

    async def add(self, windows: Sequence[Window]) -> list[int]:
        """Count one request in each window and return the new counts."""
        return [self._increment(window) for window in windows]

    def _increment(self, window: Window) -> int:
        self._counts[window] = count = self._counts.get(window, 0) + 1
        return count


class RedisCounters(RateLimitCounters):
    """The counters of all processes that use one Redis. While Redis is unreachable, each process uses its own."""

    def __init__(self, redis: RedisStorage) -> None:
        super().__init__()
        self._redis = redis
        self._unreachable_until: float | None = None

    async def add(self, windows: Sequence[Window]) -> list[int]:
        """Count one request. If Redis is unreachable, no request fails, and at most one per interval is delayed."""
        if not self._should_use_redis():
            return await super().add(windows)
        try:
            async with asyncio.timeout(_TIMEOUT_S):
                counts = await asyncio.gather(*(self._redis.incr(*window) for window in windows))
        except (StorageError, OSError) as error:
            self._set_unreachable(error)
            return await super().add(windows)
        self._set_reachable()
        return counts

    def _should_use_redis(self) -> bool:
        """Return whether to use Redis. While it is unreachable, only one request per interval uses it."""
        if self._unreachable_until is None:
            return True
        now = time.monotonic()
        if now < self._unreachable_until:
            return False
        self._unreachable_until = now + _RETRY_INTERVAL_S
        return True

    def _set_unreachable(self, error: Exception) -> None:
        if self._unreachable_until is None:
            log.warning("rate_limit_storage_lost", error=repr(error))
        self._unreachable_until = time.monotonic() + _RETRY_INTERVAL_S

    def _set_reachable(self) -> None:
        if self._unreachable_until is not None:
            log.info("rate_limit_storage_restored")
        self._unreachable_until = None


def _expires_at(window: Window, _: int, now: float) -> float:
    """Return the time after which no request counts in the window."""
    return now + window.length_s


@asynccontextmanager
async def open_rate_limit_counters(settings: Settings) -> AsyncIterator[RateLimitCounters]:
    """Open the counters that the settings select. The first request connects to Redis."""
    pool = redis_pool(settings)
    if pool is None:
        yield RateLimitCounters()
        return
    async with pool:
        storage = RedisStorage(
            "async+redis://",  # the pool has the location; `limits` would reject one without a port
            wrap_exceptions=True,
            implementation="redispy",
            key_prefix=_PREFIX,
            connection_pool=pool,  # type: ignore[arg-type] # the annotation lists only options of the client
        )
        yield RedisCounters(storage)


def redis_pool(settings: Settings) -> "BlockingConnectionPool | None":
    """Return a connection pool without connections, or None if no Redis is configured.

    Raises MissingSetting if the extra `redis` isn't installed or the URL is invalid.
    """
    if settings.rate_limit_url is None:
        return None
    try:
        from redis.asyncio import BlockingConnectionPool

        return BlockingConnectionPool.from_url(
            settings.rate_limit_url,
            max_connections=_CONNECTIONS,
            timeout=None,  # wait for a free connection without a limit, because `add` has a time limit
            # The client, like wait_for of Python 3.11, can lose a cancellation, so it needs its own time limits.
            socket_connect_timeout=_TIMEOUT_S,
            socket_timeout=_TIMEOUT_S,
        )
    except ImportError:
        raise MissingSetting("RESULTS_RATE_LIMIT_URL: requires the extra `redis`; install zof-results[redis]") from None
    except ValueError as error:
        raise MissingSetting(f"RESULTS_RATE_LIMIT_URL: {error}") from error


class RateLimits:
    """The configured limits. Requests are counted in fixed windows of the clock, such as 6000 in each minute."""

    def __init__(self, settings: Settings, counters: RateLimitCounters) -> None:
        self._per_key = _parse_limit(settings.rate_limit)
        self._per_organization = _parse_limit(settings.rate_limit_organization)
        self._counters = counters

    async def count(self, request: web.Request, caller: Caller) -> None:
        """Count one request, and store the status of the limit with the fewest remaining requests in the request.

        Raises RateLimitExceeded if a limit is exceeded.
        """
        limits, now = self._limits_of(caller), int(time.time())
        if not limits:
            return
        counts = await self._counters.add([_window(limit, name, now) for limit, name in limits])
        request[RATE_LIMIT_STATUS] = lowest = min(
            _status(limit, count, now) for (limit, _), count in zip(limits, counts, strict=True)
        )
        if lowest.remaining < 0:
            wait_s = lowest.reset_s - now
            limit_text = f"{lowest.limit} requests in {lowest.length_s} s"
            raise RateLimitExceeded(f"rate limit of {limit_text} exceeded; retry in {wait_s} s", wait_s)

    def _limits_of(self, caller: Caller) -> list[tuple[RateLimitItem, str]]:
        limits = ((self._per_key, caller.credential_id), (self._per_organization, f"org_{caller.org_id}"))
        return [(limit, name) for limit, name in limits if limit is not None]


def rate_limit_headers(status: RateLimitStatus) -> dict[str, str]:
    """Return the response headers that show the status."""
    return {
        "X-RateLimit-Limit": str(status.limit),
        "X-RateLimit-Remaining": str(max(0, status.remaining)),
        "X-RateLimit-Reset": str(status.reset_s),
    }


def _window(limit: RateLimitItem, name: str, now: int) -> Window:
    """Return the window of the clock that contains `now`: every process computes the same end without Redis."""
    length_s = limit.get_expiry()
    return Window(limit.key_for(name, str(now // length_s)), length_s)


def _status(limit: RateLimitItem, count: int, now: int) -> RateLimitStatus:
    length_s = limit.get_expiry()
    return RateLimitStatus(limit.amount - count, limit.amount, length_s, now - now % length_s + length_s)


def _parse_limit(text: str) -> RateLimitItem | None:
    return None if text == _OFF else parse(text)
