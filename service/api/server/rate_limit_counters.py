"""Where requests are counted: in this process, or in Redis for all processes together."""

import asyncio
import time
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Final, NamedTuple

from limits.aio.storage import MemoryStorage, RedisStorage
from limits.errors import StorageError

from service.log import log
from service.resources import MissingSetting
from service.settings import Settings

if TYPE_CHECKING:
    from redis.asyncio import BlockingConnectionPool

_PREFIX: Final = "zof-results"
_CONNECTIONS: Final = 16
_PATIENCE_S: Final = 0.25  # of a request, with a Redis that is slow or away
_PAUSE_S: Final = 1.0  # until one request asks again


class Window(NamedTuple):
    """A time in which requests are counted under one key; the key names the time too."""

    key: str
    length_s: int


class RateLimitCounters:
    """The counts of this process alone."""

    def __init__(self) -> None:
        self._own = MemoryStorage()

    async def add(self, windows: Sequence[Window]) -> list[int]:
        """Counts one request in each window, and says how many each has now."""
        return [await self._own.incr(*window) for window in windows]


class RedisCounters(RateLimitCounters):
    """The counts of all processes that use this Redis; while it does not answer, of this one alone."""

    def __init__(self, shared: RedisStorage) -> None:
        super().__init__()
        self._shared = shared
        self._away_until: float | None = None

    async def add(self, windows: Sequence[Window]) -> list[int]:
        """As above. No request fails for Redis, and hardly one waits for it."""
        if not self._is_worth_asking():
            return await super().add(windows)
        try:
            async with asyncio.timeout(_PATIENCE_S):
                counts = await asyncio.gather(*(self._shared.incr(*window) for window in windows))
        except (StorageError, OSError) as error:
            self._note_away(error)
            return await super().add(windows)
        self._note_back()
        return counts

    def _is_worth_asking(self) -> bool:
        """True, or while Redis is away, true for one request now and then."""
        if self._away_until is None:
            return True
        now = time.monotonic()
        if now < self._away_until:
            return False
        self._away_until = now + _PAUSE_S
        return True

    def _note_away(self, error: Exception) -> None:
        if self._away_until is None:
            log.warning("rate_limits_counted_alone", error=repr(error))
        self._away_until = time.monotonic() + _PAUSE_S

    def _note_back(self) -> None:
        if self._away_until is not None:
            log.info("rate_limits_shared_again")
        self._away_until = None


@asynccontextmanager
async def open_rate_limit_counters(settings: Settings) -> AsyncIterator[RateLimitCounters]:
    """Where the settings want requests counted. Whether Redis answers is seen with the first of them."""
    pool = redis_pool(settings)
    if pool is None:
        yield RateLimitCounters()
        return
    async with pool:
        shared = RedisStorage(
            f"async+{settings.rate_limit_url}",
            wrap_exceptions=True,
            implementation="redispy",
            key_prefix=_PREFIX,
            connection_pool=pool,  # type: ignore[arg-type] # an option of its own, typed as if for the client
        )
        yield RedisCounters(shared)


def redis_pool(settings: Settings) -> "BlockingConnectionPool | None":
    """Connections to Redis, none of them made yet; None where each process counts for itself.

    Raises MissingSetting where the extra is missing, or the URL makes no sense.
    """
    if settings.rate_limit_url is None:
        return None
    try:
        from redis.asyncio import BlockingConnectionPool

        return BlockingConnectionPool.from_url(
            settings.rate_limit_url,
            max_connections=_CONNECTIONS,
            timeout=None,  # for a free one: `add` ends the wait
            socket_connect_timeout=_PATIENCE_S,  # the client can lose a cancellation: Python 3.11's wait_for does
            socket_timeout=_PATIENCE_S,
        )
    except ImportError:
        raise MissingSetting("RESULTS_RATE_LIMIT_URL needs the extra `redis`: install zof-results[redis]") from None
    except ValueError as error:
        raise MissingSetting(f"RESULTS_RATE_LIMIT_URL: {error}") from error
