"""Every address that the service answers: method, path, handler, and the permission that a key needs."""

from typing import Final, NamedTuple

from aiohttp import web

from service.api import artifacts, health, keys, results, runs
from service.api.callers import Handler, permitted
from service.domain.keys import Permission


class Route(NamedTuple):
    """One operation. A GET answers HEAD too; None means that no key is asked for."""

    method: str
    path: str
    handler: Handler
    permission: Permission | None


V1: Final = (
    Route("GET", "/results", results.list_results, "results:read"),
    Route("GET", "/results/{id}", results.get_result, "results:read"),
    Route("GET", "/results/{id}/artifacts", artifacts.list_artifacts, "results:read"),
    Route("GET", "/runs", runs.list_runs, "results:read"),
    Route("GET", "/runs/{run_id}", runs.get_run, "results:read"),
    Route("GET", "/api-keys", keys.list_keys, "keys:manage"),
    Route("POST", "/api-keys", keys.create_key, "keys:manage"),
    Route("POST", "/api-keys/{id}/rotate", keys.rotate_key, "keys:manage"),
    Route("DELETE", "/api-keys/{id}", keys.delete_key, "keys:manage"),
)
OPEN: Final = (
    Route("GET", "/healthz", health.get_health, None),
    Route("GET", "/readyz", health.get_readiness, None),
)
# These were there before /v1 and answer without the prefix too.
_WITHOUT_PREFIX: Final = ("/results", "/results/{id}", "/results/{id}/artifacts", "/results/export")


def all_routes() -> list[Route]:
    """Every route under the path that clients use."""
    prefixed = [route._replace(path=f"/v1{route.path}") for route in V1]
    return [*prefixed, *(route for route in V1 if route.path in _WITHOUT_PREFIX), *OPEN]


def add_routes(app: web.Application) -> None:
    """Registers every route, each behind its permission; fixed paths come before those with a variable."""
    for route in sorted(all_routes(), key=lambda route: route.path.replace("{", "~")):
        handler = permitted(route.permission, route.handler) if route.permission else route.handler
        app.router.add_route(route.method, route.path, handler)
        if route.method == "GET":
            app.router.add_route("HEAD", route.path, handler)
