"""Rate limits of a key, and of an organization with all of its keys."""

import time
from typing import Final, NamedTuple

from aiohttp import web
from limits import RateLimitItem, parse

from service.api.http.rate_limit_counters import RateLimitCounters, Window
from service.domain.errors import RateLimitExceeded
from service.domain.keys import Caller
from service.settings import Settings

_OFF: Final = "off"


class RateLimitStatus(NamedTuple):
    """The remaining requests of a limit. `reset_s` is the end of the window in Unix time."""

    remaining: int
    limit: int
    length_s: int
    reset_s: int


RATE_LIMIT_STATUS: Final = web.RequestKey("rate_limit_status", RateLimitStatus)


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
