"""Metrics over HTTP, for Prometheus: how requests were answered and how long that took, and what waits."""

import asyncio
import time
from typing import Final

from aiohttp import web
from prometheus_client import CONTENT_TYPE_LATEST, Histogram, disable_created_metrics, generate_latest

from service.api.server.multiprocess_metrics import all_counts
from service.api.server.resources import RESOURCES

disable_created_metrics()  # they would double what is scraped, and several processes together have none

_SECONDS: Final = Histogram(
    "results_http_request_seconds",
    "Time until an answer was ready",
    ("method", "route", "status"),
    buckets=(0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30),
)
_METHODS: Final = frozenset({"GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"})


async def get_metrics(request: web.Request) -> web.Response:
    """Everything that is counted here, and the backlogs. Nothing in it tells of one organization."""
    backlogs = await request.app[RESOURCES].backlogs.look()
    counts = await asyncio.to_thread(generate_latest, all_counts())
    return web.Response(body=counts + generate_latest(backlogs), headers={"Content-Type": CONTENT_TYPE_LATEST})


def observe(request: web.Request, response: web.StreamResponse, begun: float) -> None:
    """Counts an answer under its route, so that ids make no series of their own."""
    resource = request.match_info.route.resource
    route = resource.canonical if resource else "none"
    method = request.method if request.method in _METHODS else "other"
    _SECONDS.labels(method, route, str(response.status)).observe(time.perf_counter() - begun)
