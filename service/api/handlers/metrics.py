"""Metrics for Prometheus: durations of requests, and backlogs in the database."""

import asyncio
from functools import cache
from typing import Final

from aiohttp import web
from prometheus_client import (
    CONTENT_TYPE_LATEST,
    CollectorRegistry,
    Gauge,
    Histogram,
    disable_created_metrics,
    generate_latest,
)

from service.api.resources import RESOURCES
from service.api.server.multiprocess_metrics import all_metrics
from service.version import find_commit, find_version

disable_created_metrics()  # they would double the output, and the multiprocess mode doesn't support them

_REQUEST_SECONDS: Final = Histogram(
    "results_http_request_seconds",
    "Duration of requests until the response is ready",
    ("method", "route", "status"),
    buckets=(0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30),
)
_BUILD: Final = CollectorRegistry()  # its own, because several processes would add their values
Gauge("results_build_info", "Version and commit of the process", ("version", "commit"), registry=_BUILD).labels(
    find_version(), find_commit() or ""
).set(1)
_METHODS: Final = frozenset({"GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"})


async def get_metrics(request: web.Request) -> web.Response:
    """Return the build, the counters of all API processes, and the backlogs. No metric identifies an organization."""
    backlogs = await request.app[RESOURCES].backlog_metrics.sample()
    counters = await asyncio.to_thread(generate_latest, all_metrics())
    body = generate_latest(_BUILD) + counters + generate_latest(backlogs)
    return web.Response(body=body, headers={"Content-Type": CONTENT_TYPE_LATEST})


def record_request(request: web.Request, response: web.StreamResponse, duration_s: float) -> None:
    """Record the duration of a request. The label is the route, so that IDs in paths create no further series."""
    _request_seconds(*method_and_route(request), response.status).observe(duration_s)


@cache
def _request_seconds(method: str, route: str, status: int) -> Histogram:
    return _REQUEST_SECONDS.labels(method, route, str(status))


def method_and_route(request: web.Request) -> tuple[str, str]:
    """Return the method and the route of a request, each of which has a limited number of values."""
    resource = request.match_info.route.resource
    return request.method if request.method in _METHODS else "other", resource.canonical if resource else "none"
