"""The complete route table: it collects the rows of the subjects, and registers each with its checks.

The order is the order of the paths in OpenAPI. A new route is a handler and a row in the `api.py` of its subject.
"""

import dataclasses
from typing import Final

from aiohttp import web

from service.api import client_files, documentation, health, metrics
from service.api.server.connections import handle_expect
from service.artifacts import api as artifacts_api
from service.cases import api as cases_api
from service.comparison import api as comparison_api
from service.costs import api as costs_api
from service.events import api as events_api
from service.exports import api as exports_api
from service.failures import api as failures_api
from service.gates import api as gates_api
from service.http.authentication import ApiHandler, require_permission
from service.http.parsing import reject_query
from service.http.routes import Route, router_path
from service.identity.keys import api as keys_api
from service.identity.members import api as members_api
from service.identity.publishers import api as publishers_api
from service.projects import api as projects_api
from service.quarantines import api as quarantines_api
from service.receipts import api as receipts_api
from service.reports import api as reports_api
from service.results import api as results_api
from service.runs import api as runs_api
from service.splits import api as splits_api
from service.stats import api as stats_api
from service.webhooks import api as webhooks_api

V1: Final[tuple[Route, ...]] = (
    *results_api.ROUTES,
    *artifacts_api.RESULT_ROUTES,
    *exports_api.ROUTES,
    *runs_api.ROUTES,
    *comparison_api.ROUTES,
    *artifacts_api.RUN_ROUTES,
    *runs_api.PIN_ROUTES,
    *reports_api.ROUTES,
    *receipts_api.ROUTES,
    *cases_api.ROUTES,
    *stats_api.ROUTES,
    *costs_api.ROUTES,
    *projects_api.ROUTES,
    *events_api.ROUTES,
    *webhooks_api.ROUTES,
    *keys_api.ROUTES,
    *members_api.ROUTES,
    *publishers_api.ROUTES,
    *quarantines_api.ROUTES,
    *gates_api.ROUTES,
    *splits_api.ROUTES,
    *failures_api.ROUTES,
)
_WITHOUT_KEY: Final[tuple[Route, ...]] = (
    *publishers_api.PUBLIC_ROUTES,
    *health.ROUTES,
    *metrics.ROUTES,
    *documentation.ROUTES,
    *client_files.ROUTES,
)
# The operations of the original API, which also work without the prefix.
_WITHOUT_PREFIX: Final = ("/results", "/results/{id}", "/results/{id}/artifacts", "/results/export")


def all_routes() -> list[Route]:
    """Return every route under the path that clients use."""
    prefixed = [dataclasses.replace(route, path=f"/v1{route.path}") for route in V1]
    return [*prefixed, *map(_unprefixed, (route for route in V1 if route.path in _WITHOUT_PREFIX)), *_WITHOUT_KEY]


def add_routes(app: web.Application) -> None:
    """Register every route with its checks. Fixed paths precede paths with a variable."""
    for route in sorted(all_routes(), key=lambda route: route.path.replace("{", "~")):
        handler = _guarded(route)
        path = router_path(route.path)
        app.router.add_route(route.method, path, handler, expect_handler=handle_expect)
        if route.method == "GET":
            app.router.add_route("HEAD", path, handler, expect_handler=handle_expect)


def _unprefixed(route: Route) -> Route:
    operation = dataclasses.replace(route.operation, operation_id=f"{route.operation.operation_id}_unprefixed")
    return dataclasses.replace(route, operation=operation)


def _guarded(route: Route) -> ApiHandler:
    """Wrap the handler with its checks. Public routes ignore unknown query parameters, which probes can add."""
    if route.operation.form:
        return publishers_api.oauth_errors(reject_query(route.handler))
    if route.permission is None:
        return route.handler
    handler = route.handler if route.operation.query else reject_query(route.handler)
    return require_permission(route.permissions, handler)
