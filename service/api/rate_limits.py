"""How much a key, and an organization with all its keys, may ask for; each process counts for itself."""

import time
from typing import Final, NamedTuple

from aiohttp import web
from limits import RateLimitItem, parse
from limits.aio.storage import MemoryStorage

from service.domain.errors import RateLimitExceeded
from service.domain.keys import Caller
from service.settings import Settings

_OFF: Final = "off"


class Standing(NamedTuple):
    """What of a limit is left; `reset_s` is in unix time."""

    remaining: int
    limit: int
    reset_s: int


STANDING: Final = web.RequestKey("standing", Standing)


class RateLimits:
    """Counts requests in fixed windows, such as 6000/minute. "off" counts nothing."""

    def __init__(self, settings: Settings) -> None:
        self._per_key = _limit(settings.rate_limit)
        self._per_organization = _limit(settings.rate_limit_organization)
        self._storage = MemoryStorage()

    async def take(self, request: web.Request, caller: Caller) -> None:
        """Takes one request off, and leaves the standing that is nearest its end in the request.

        Raises RateLimitExceeded at the end.
        """
        standings = [await self._hit(limit, name) for limit, name in self._counted(caller)]
        if standings:
            request[STANDING] = least = min(standings)
            if least.remaining < 0:
                wait_s = max(1, least.reset_s - int(time.time()))
                raise RateLimitExceeded(f"more than {least.limit} requests; try again in {wait_s} s", wait_s)

    def _counted(self, caller: Caller) -> list[tuple[RateLimitItem, str]]:
        limits = ((self._per_key, caller.key_id), (self._per_organization, f"org_{caller.org_id}"))
        return [(limit, name) for limit, name in limits if limit is not None]

    async def _hit(self, limit: RateLimitItem, name: str) -> Standing:
        key = limit.key_for(name)
        count = await self._storage.incr(key, limit.get_expiry())
        return Standing(limit.amount - count, limit.amount, int(await self._storage.get_expiry(key)) + 1)


def standing_headers(standing: Standing) -> dict[str, str]:
    """The standing as answers show it."""
    return {
        "X-RateLimit-Limit": str(standing.limit),
        "X-RateLimit-Remaining": str(max(0, standing.remaining)),
        "X-RateLimit-Reset": str(standing.reset_s),
    }


def _limit(text: str) -> RateLimitItem | None:
    return None if text == _OFF else parse(text)
