"""How much a key, and an organization with all its keys, may ask for."""

import time
from typing import Final, NamedTuple

from aiohttp import web
from limits import RateLimitItem, parse

from service.api.server.rate_limit_counters import RateLimitCounters, Window
from service.domain.errors import RateLimitExceeded
from service.domain.keys import Caller
from service.settings import Settings

_OFF: Final = "off"


class Standing(NamedTuple):
    """What of a limit is left; `reset_s` is in unix time."""

    remaining: int
    limit: int
    length_s: int
    reset_s: int


STANDING: Final = web.RequestKey("standing", Standing)


class RateLimits:
    """Counts requests in windows of the clock, such as 6000 in each minute. "off" counts nothing."""

    def __init__(self, settings: Settings, counts: RateLimitCounters) -> None:
        self._per_key = _limit(settings.rate_limit)
        self._per_organization = _limit(settings.rate_limit_organization)
        self._counts = counts

    async def take(self, request: web.Request, caller: Caller) -> None:
        """Takes one request off, and leaves the standing that is nearest its end in the request.

        Raises RateLimitExceeded at the end.
        """
        counted, now = self._counted(caller), int(time.time())
        if not counted:
            return
        counts = await self._counts.add([_window(limit, name, now) for limit, name in counted])
        request[STANDING] = least = min(
            _standing(limit, count, now) for (limit, _), count in zip(counted, counts, strict=True)
        )
        if least.remaining < 0:
            wait_s = least.reset_s - now
            asked = f"more than {least.limit} requests in {least.length_s} s"
            raise RateLimitExceeded(f"{asked}; try again in {wait_s} s", wait_s)

    def _counted(self, caller: Caller) -> list[tuple[RateLimitItem, str]]:
        limits = ((self._per_key, caller.key_id), (self._per_organization, f"org_{caller.org_id}"))
        return [(limit, name) for limit, name in limits if limit is not None]


def _window(limit: RateLimitItem, name: str, now: int) -> Window:
    """The window of the clock that `now` is in: its end is known without asking, and the same in every process."""
    length_s = limit.get_expiry()
    return Window(limit.key_for(name, str(now // length_s)), length_s)


def _standing(limit: RateLimitItem, count: int, now: int) -> Standing:
    length_s = limit.get_expiry()
    return Standing(limit.amount - count, limit.amount, length_s, now - now % length_s + length_s)


def standing_headers(standing: Standing) -> dict[str, str]:
    """The standing as answers show it."""
    return {
        "X-RateLimit-Limit": str(standing.limit),
        "X-RateLimit-Remaining": str(max(0, standing.remaining)),
        "X-RateLimit-Reset": str(standing.reset_s),
    }


def _limit(text: str) -> RateLimitItem | None:
    return None if text == _OFF else parse(text)
