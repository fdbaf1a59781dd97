"""Liveness and readiness of the process."""

import asyncio
from collections.abc import Mapping
from typing import Final

from aiohttp import web

from service.contracts.responses import Health, Readiness
from service.database.database import Pool
from service.database.errors import OutagesAsUnavailable
from service.domain.errors import Unavailable
from service.http.process import RESOURCES
from service.http.responses import reply
from service.http.routes import Operation, Route
from service.tasks import store as tasks_store
from service.version import find_build

_COUNT_TIMEOUT_S: Final = 3


async def get_health(_: web.Request) -> web.Response:
    """Return 200 while the process responds, and which version runs."""
    return reply({"status": "ok", **find_build()})


async def get_readiness(request: web.Request) -> web.Response:
    """Return 200 if the database is ready for queries, otherwise 503, with the state of each component.

    Queries don't need the storage. While it is down, uploads and downloads return 503, and the log contains its URL.
    """
    resources = request.app[RESOURCES]
    storage_error, workers = await asyncio.gather(
        resources.storage_health.find_error(), _count_live_workers(resources.pool)
    )
    parts = {
        "database": {"status": "down" if workers is None else "up"},
        "storage": {"status": "down", "reason": storage_error} if storage_error else {"status": "up"},
        "consumers": {"status": _status(workers), "workers": workers or {}},
    }
    if workers is None:
        return reply({"status": "unavailable", "parts": parts}, status=503)
    return reply({"status": "ready", "parts": parts})


async def _count_live_workers(pool: Pool) -> Mapping[str, int] | None:
    """Return the number of workers of each role, or None if the database doesn't respond."""
    try:
        async with asyncio.timeout(_COUNT_TIMEOUT_S), OutagesAsUnavailable(), pool.acquire() as connection:
            return await tasks_store.count_live_workers(connection)
    except (Unavailable, TimeoutError):
        return None


def _status(workers: Mapping[str, int] | None) -> str:
    if workers is None:
        return "unknown"
    return "up" if workers else "down"


ROUTES: Final = (
    Route("GET", "/healthz", get_health, None, Operation(
        "get_health", "Check that the process responds", {200: Health},
        description="Checks no other component, so that an outage of the database restarts no process.",
    )),
    Route("GET", "/readyz", get_readiness, None, Operation(
        "get_readiness", "Check whether the service is ready for queries", {200: Readiness, 503: Readiness},
        description="Shows the state of each component. Missing consumers only delay incoming results. "
        "Without the storage, only uploads and downloads fail.",
    )),
)  # fmt: skip
