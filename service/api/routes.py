"""Every address that the service answers: method, path, handler, and the permission that a key needs."""

from typing import Final, NamedTuple

from aiohttp import web

from service.api.handlers import (
    artifacts,
    cases,
    documentation,
    events,
    exports,
    health,
    keys,
    metrics,
    receipts,
    reports,
    results,
    runs,
    webhooks,
)
from service.api.http.authentication import ApiHandler, permitted
from service.api.http.parsing import without_query
from service.api.operations import OPERATIONS
from service.api.server.connections import handle_expect
from service.domain.keys import Permission


class Route(NamedTuple):
    """One operation. A GET answers HEAD too; None means that no key is asked for."""

    method: str
    path: str
    handler: ApiHandler
    permission: Permission | None


V1: Final = (
    Route("GET", "/results", results.list_results, "results:read"),
    Route("GET", "/results/{id}", results.get_result, "results:read"),
    Route("POST", "/results/export", exports.create_export, "results:export"),
    Route("GET", "/results/export", exports.list_exports, "results:export"),
    Route("GET", "/results/export/{id}", exports.get_export, "results:export"),
    Route("DELETE", "/results/export/{id}", exports.delete_export, "results:export"),
    Route("GET", "/results/export/{id}/file", exports.get_file, "results:export"),
    Route("GET", "/results/{id}/artifacts", artifacts.list_artifacts, "results:read"),
    Route("PUT", "/results/{id}/artifacts/{name}", artifacts.put_artifact, "reports:create"),
    Route("GET", "/artifacts/{id}", artifacts.get_artifact, "results:read"),
    Route("GET", "/runs", runs.list_runs, "results:read"),
    Route("GET", "/runs/{run_id}", runs.get_run, "results:read"),
    Route("DELETE", "/runs/{run_id}", runs.delete_run, "runs:delete"),
    Route("GET", "/events", events.list_events, "results:read"),
    Route("GET", "/events/stream", events.stream_events, "results:read"),
    Route("POST", "/webhooks", webhooks.post_webhook, "webhooks:manage"),
    Route("GET", "/webhooks", webhooks.list_webhooks, "webhooks:manage"),
    Route("GET", "/webhooks/{id}", webhooks.get_webhook, "webhooks:manage"),
    Route("PATCH", "/webhooks/{id}", webhooks.patch_webhook, "webhooks:manage"),
    Route("DELETE", "/webhooks/{id}", webhooks.remove_webhook, "webhooks:manage"),
    Route("POST", "/webhooks/{id}/test", webhooks.post_test, "webhooks:manage"),
    Route("POST", "/webhooks/{id}/rotate-secret", webhooks.post_rotation, "webhooks:manage"),
    Route("POST", "/webhooks/{id}/recover", webhooks.post_recovery, "webhooks:manage"),
    Route("GET", "/webhooks/{id}/recoveries/{recovery_id}", webhooks.get_recovery, "webhooks:manage"),
    Route("GET", "/webhooks/{id}/deliveries", webhooks.list_deliveries, "webhooks:manage"),
    Route("POST", "/webhooks/{id}/deliveries/{delivery_id}/redeliver", webhooks.post_redelivery, "webhooks:manage"),
    Route("POST", "/runs/{run_id}/report", reports.create_report, "reports:create"),
    Route("GET", "/receipts", receipts.list_receipts, "reports:create"),
    Route("GET", "/receipts/{id}", receipts.get_receipt, "reports:create"),
    Route("GET", "/cases", cases.list_cases, "results:read"),
    Route("GET", "/cases/{id}", cases.get_case, "results:read"),
    Route("GET", "/cases/{id}/history", cases.list_history, "results:read"),
    Route("GET", "/api-keys", keys.list_keys, "keys:manage"),
    Route("POST", "/api-keys", keys.create_key, "keys:manage"),
    Route("POST", "/api-keys/{id}/rotate", keys.rotate_key, "keys:manage"),
    Route("DELETE", "/api-keys/{id}", keys.delete_key, "keys:manage"),
)
OPEN: Final = (
    Route("GET", "/healthz", health.get_health, None),
    Route("GET", "/readyz", health.get_readiness, None),
    Route("GET", "/metrics", metrics.get_metrics, None),
    Route("GET", "/openapi.json", documentation.get_document, None),
    Route("GET", "/docs", documentation.get_page, None),
    Route("GET", "/docs/{name}", documentation.get_asset, None),
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
        handler = _guarded(route)
        app.router.add_route(route.method, route.path, handler, expect_handler=handle_expect)
        if route.method == "GET":
            app.router.add_route("HEAD", route.path, handler, expect_handler=handle_expect)


def _guarded(route: Route) -> ApiHandler:
    """The handler behind what it asks of a request. Probes and browsers may add a query of their own to open pages."""
    if route.permission is None:
        return route.handler
    takes_query = OPERATIONS[route.handler].query is not None
    return permitted(route.permission, route.handler if takes_query else without_query(route.handler))
