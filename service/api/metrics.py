"""Metrics of all processes of the API for Prometheus: durations of requests, and backlogs in the database."""

import asyncio
import multiprocessing
import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Final

from aiohttp import web
from prometheus_client import (
    CONTENT_TYPE_LATEST,
    REGISTRY,
    CollectorRegistry,
    Gauge,
    Histogram,
    disable_created_metrics,
    generate_latest,
    values,
)
from prometheus_client.multiprocess import MultiProcessCollector
from prometheus_client.registry import Collector

from service.http.process import RESOURCES
from service.http.routes import Operation, Route
from service.version import find_commit, find_version

_DIRECTORY_VARIABLE: Final = "PROMETHEUS_MULTIPROC_DIR"  # read by prometheus_client
_SHARED_MEMORY: Final = Path("/dev/shm")  # noqa: S108 - a full disk would crash a process that updates its file there
_METHODS: Final = frozenset({"GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"})

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


@contextmanager
def multiprocess_metrics() -> Iterator[None]:
    """Make the processes that are forked in this block share their metrics, under unique process names.

    A process that replaces an exited process has the same name and continues its counters, so that no counter
    decreases. Every metric must have labels, because a metric without labels opens its file when it is created, which
    is before this block.
    """
    memory = _SHARED_MEMORY if os.access(_SHARED_MEMORY, os.W_OK) else None
    with TemporaryDirectory(prefix="zof-results-counts-", dir=memory) as directory:
        os.environ[_DIRECTORY_VARIABLE] = directory
        values.ValueClass = values.MultiProcessValue(lambda: multiprocessing.current_process().name)
        yield


def delete_metrics_if_orphaned() -> None:
    """Delete the files at the end of a child process if its parent was killed and couldn't delete them."""
    parent = multiprocessing.parent_process()
    if parent is not None and not parent.is_alive():
        shutil.rmtree(os.environ[_DIRECTORY_VARIABLE], ignore_errors=True)


def all_metrics() -> Collector:
    """Return the collector of all processes, or of this process if it's the only one."""
    return MultiProcessCollector(None) if _DIRECTORY_VARIABLE in os.environ else REGISTRY


ROUTES: Final = (
    Route("GET", "/metrics", get_metrics, None, Operation(
        "get_metrics", "Get metrics for Prometheus", {200: "text/plain"},
        description="Requests of all API processes and backlogs in the database, without data about organizations.",
    )),
)  # fmt: skip
