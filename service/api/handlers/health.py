"""Liveness and readiness of the process."""

import asyncio
from collections.abc import Mapping
from typing import Final

from aiohttp import web

from service.api.http.responses import reply
from service.api.server.resources import RESOURCES, Resources
from service.domain.errors import Unavailable
from service.store import heartbeats
from service.store.postgres.database import OutagesAsUnavailable

_TIMEOUT_S: Final = 3


async def get_health(_: web.Request) -> web.Response:
    """Return 200 while the process responds."""
    return reply({"status": "ok"})


async def get_readiness(request: web.Request) -> web.Response:
    """Return 200 if the database is ready for queries, otherwise 503, with the state of each component.

    Queries don't need the storage. While it is down, uploads and downloads return 503, and the log contains its URL.
    """
    resources = request.app[RESOURCES]
    storage_error, workers = await asyncio.gather(resources.storage_health.find_error(), _count_live_workers(resources))
    parts = {
        "database": {"status": "down" if workers is None else "up"},
        "storage": {"status": "down", "reason": storage_error} if storage_error else {"status": "up"},
        "consumers": {"status": _status(workers), "workers": workers or {}},
    }
    if workers is None:
        return reply({"status": "unavailable", "parts": parts}, status=503)
    return reply({"status": "ready", "parts": parts})


async def _count_live_workers(resources: Resources) -> Mapping[str, int] | None:
    """Return the number of workers of each role, or None if the database doesn't respond."""
    try:
        async with asyncio.timeout(_TIMEOUT_S), OutagesAsUnavailable(), resources.pool.acquire() as connection:
            return await heartbeats.count_live_workers(connection)
    except (Unavailable, TimeoutError):
        return None


def _status(workers: Mapping[str, int] | None) -> str:
    if workers is None:
        return "unknown"
    return "up" if workers else "down"
