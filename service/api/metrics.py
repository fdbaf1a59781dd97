"""Metrics over HTTP, for Prometheus: how many requests, how they were answered, how long that took."""

import time
from typing import Final

from aiohttp import web
from prometheus_client import CONTENT_TYPE_LATEST, Histogram, generate_latest

_SECONDS: Final = Histogram(
    "results_http_request_seconds",
    "Time until an answer was ready",
    ("method", "route", "status"),
    buckets=(0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30),
)
_METHODS: Final = frozenset({"GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"})


async def get_metrics(_: web.Request) -> web.Response:
    """Everything that this process counts."""
    return web.Response(body=generate_latest(), headers={"Content-Type": CONTENT_TYPE_LATEST})


def observe(request: web.Request, response: web.StreamResponse, begun: float) -> None:
    """Counts an answer under its route, so that ids make no series of their own."""
    resource = request.match_info.route.resource
    route = resource.canonical if resource else "none"
    method = request.method if request.method in _METHODS else "other"
    _SECONDS.labels(method, route, str(response.status)).observe(time.perf_counter() - begun)
