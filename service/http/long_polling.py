"""Long-polling requests: their time limit, from `?wait=` or the header `Prefer` (RFC 7240), and the wait itself."""

import asyncio
import re
from typing import Final

from aiohttp import web

from service.contracts.queries import LONGEST_WAIT_S, WaitQuery
from service.http.authentication import check_still_valid, get_caller
from service.http.parsing import parse_query
from service.http.process import RESOURCES
from service.tasks.watch import Watch, Watched

_CHECK_KEY_S: Final = 2.0  # a check usually uses only the cache of keys
_PREFER_WAIT: Final = re.compile(r'wait\s*=\s*"?([0-9]{1,9})"?(?:\s*;.*)?', re.IGNORECASE)


def requested_wait_s(request: web.Request) -> int:
    """Return the number of seconds to wait. The query parameter takes precedence over the header.

    An invalid preference is ignored, and a preference above the maximum is reduced to it, as RFC 7240 allows.
    """
    query = parse_query(request, WaitQuery)
    return query.wait if "wait" in query.model_fields_set else _preferred_wait_s(request)


async def wait_until_finished(request: web.Request, watch: Watch[Watched], watched: Watched, timeout_s: float) -> None:
    """Wait until the object is finished or the time is over.

    Raises Unauthorized soon after the API key has become invalid, and RateLimitExceeded if it has too many waiting
    requests.
    """
    caller, loop = get_caller(request), asyncio.get_running_loop()
    deadline_s, finished = loop.time() + timeout_s, False
    async with request.app[RESOURCES].waits.slot(caller.credential_id):
        while not finished and (left_s := deadline_s - loop.time()) > 0:
            finished = await watch.wait(caller.org_id, watched, min(left_s, _CHECK_KEY_S))
            await check_still_valid(request)


def _preferred_wait_s(request: web.Request) -> int:
    """Return the first valid `wait` preference, or 0."""
    preferences = (part.strip() for value in request.headers.getall("Prefer", ()) for part in value.split(","))
    waits = (match[1] for match in map(_PREFER_WAIT.fullmatch, preferences) if match)
    return min(int(next(waits, 0)), LONGEST_WAIT_S)
