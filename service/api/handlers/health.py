"""Liveness and readiness of the process."""

import asyncio
from typing import Any, Final

from aiohttp import web

from service.api.http.responses import reply
from service.api.server.resources import RESOURCES
from service.domain.errors import Unavailable
from service.store import heartbeats
from service.store.postgres.database import outages_as_unavailable

_TIMEOUT_S: Final = 3


async def get_health(_: web.Request) -> web.Response:
    """Return 200 while the process responds."""
    return reply({"status": "ok"})


async def get_readiness(request: web.Request) -> web.Response:
    """Return 200 if the database is ready for queries, otherwise 503, with the state of each component."""
    parts: dict[str, Any] = {"database": {"status": "down"}, "consumers": {"status": "unknown", "workers": {}}}
    try:
        async with (
            asyncio.timeout(_TIMEOUT_S),
            outages_as_unavailable(),
            request.app[RESOURCES].pool.acquire() as connection,
        ):
            workers = await heartbeats.count_live_workers(connection)
    except (Unavailable, TimeoutError):
        return reply({"status": "unavailable", "parts": parts}, status=503)
    parts["database"]["status"] = "up"
    parts["consumers"] = {"status": "up" if workers else "down", "workers": workers}
    return reply({"status": "ready", "parts": parts})
