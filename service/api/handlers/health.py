"""Health over HTTP: alive, and able to answer queries."""

import asyncio
from typing import Any, Final

from aiohttp import web

from service.api.http.responses import reply
from service.api.server.resources import RESOURCES
from service.domain.errors import Unavailable
from service.store import heartbeats
from service.store.postgres.database import outages_as_unavailable

_PATIENCE_S: Final = 3


async def get_health(_: web.Request) -> web.Response:
    """The process answers."""
    return reply({"status": "ok"})


async def get_readiness(request: web.Request) -> web.Response:
    """Whether queries can be answered, with the state of each part. Missing consumers only delay what comes in."""
    parts: dict[str, Any] = {"database": {"status": "down"}, "consumers": {"status": "unknown", "workers": {}}}
    try:
        async with (
            asyncio.timeout(_PATIENCE_S),
            outages_as_unavailable(),
            request.app[RESOURCES].pool.acquire() as connection,
        ):
            workers = await heartbeats.count_live_workers(connection)
    except (Unavailable, TimeoutError):
        return reply({"status": "unavailable", "parts": parts}, status=503)
    parts["database"]["status"] = "up"
    parts["consumers"] = {"status": "up" if workers else "down", "workers": workers}
    return reply({"status": "ready", "parts": parts})
