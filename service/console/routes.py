"""The URLs of the console. A new page is a handler and a row here; templates link to it by its name."""

from typing import Final, NamedTuple

from aiohttp import web

from service.api.server.connections import handle_expect
from service.artifacts import pages as artifacts_pages
from service.cases import pages as cases_pages
from service.console.authentication import SIGN_IN_PATH, page, redirect, require_session
from service.console.rendering import get_static_file, page_url
from service.events import pages as events_pages
from service.exports import pages as exports_pages
from service.failures import pages as failures_pages
from service.gates import pages as gates_pages
from service.http.authentication import ApiHandler
from service.http.compression import accepted
from service.http.routes import router_path
from service.identity.members import pages as members_pages
from service.identity.members import sign_in_pages
from service.identity.publishers import pages as publishers_pages
from service.quarantines import pages as quarantines_pages
from service.results import pages as results_pages
from service.runs import pages as runs_pages
from service.runs import run_pages
from service.stats import pages as stats_pages

_HTML: Final = "text/html"
_JSON: Final = "application/json"


async def redirect_browser(request: web.Request) -> web.Response:
    """Redirect a browser to the console. Other clients get the same error as for every unknown path of the API."""
    weights = accepted(request, "Accept")
    if not 0 < weights.get(_HTML, 0) >= weights.get(_JSON, 0):
        raise web.HTTPNotFound
    response = redirect(page_url(request.app, "console"))
    response.headers["Vary"] = "Accept"
    return response


async def redirect_to_runs(request: web.Request) -> web.Response:
    """Redirect to the list of runs."""
    return redirect(page_url(request.app, "runs"))


class ConsoleRoute(NamedTuple):
    """A path with its name and handlers. A path with `get` also serves HEAD."""

    name: str
    path: str
    get: ApiHandler | None = None
    post: ApiHandler | None = None


ROUTES: Final = (
    ConsoleRoute("root", "/", redirect_browser),
    ConsoleRoute("console", "/console", redirect_to_runs),
    ConsoleRoute("console_folder", "/console/", redirect_to_runs),
    ConsoleRoute("static", "/console/static/{name}", get_static_file),
    ConsoleRoute("sign_in", SIGN_IN_PATH, sign_in_pages.show_sign_in, sign_in_pages.sign_in),
    ConsoleRoute("start_sign_in", f"{SIGN_IN_PATH}/start", sign_in_pages.start),
    ConsoleRoute("finish_sign_in", f"{SIGN_IN_PATH}/callback", sign_in_pages.finish),
    ConsoleRoute("choose_membership", f"{SIGN_IN_PATH}/choose", sign_in_pages.show_choices, sign_in_pages.choose),
    ConsoleRoute("sign_out", "/console/sign-out", post=page(None, sign_in_pages.sign_out)),
    ConsoleRoute("stream", "/console/stream", require_session("results:read", events_pages.stream_changes)),
    ConsoleRoute("runs", "/console/runs", page("results:read", runs_pages.show_runs)),
    ConsoleRoute("run", "/console/runs/{run_id}", page("results:read", run_pages.show_run)),
    ConsoleRoute("run_changes", "/console/runs/{run_id}/changes", page("results:read", run_pages.show_changes)),
    ConsoleRoute("run_results", "/console/runs/{run_id}/results", page("results:read", run_pages.show_results)),
    ConsoleRoute(
        "decide", "/console/runs/{run_id}/decisions", post=page("reports:create", gates_pages.create_decision)
    ),
    ConsoleRoute("promote", "/console/runs/{run_id}/promotion", post=page("runs:promote", runs_pages.promote_run)),
    ConsoleRoute("result", "/console/results/{id}", page("results:read", results_pages.show_result)),
    ConsoleRoute("artifact", "/console/artifacts/{id}", page("results:read", artifacts_pages.show_artifact)),
    ConsoleRoute("waive", "/console/decisions/{id}/waiver", post=page("gates:manage", gates_pages.waive_decision)),
    ConsoleRoute(
        "case",
        "/console/cases/{case_id}",
        page("results:read", cases_pages.show_case),
        page("quarantines:manage", cases_pages.quarantine_case),
    ),
    ConsoleRoute("tests", "/console/tests", page("results:read", cases_pages.show_tests)),
    ConsoleRoute("health", "/console/health", page("results:read", stats_pages.show_health)),
    ConsoleRoute(
        "failure",
        "/console/failures/{id}",
        page("results:read", failures_pages.show_failure),
        page("quarantines:manage", failures_pages.set_failure_ticket),
    ),
    ConsoleRoute("quarantines", "/console/quarantines", page("results:read", quarantines_pages.show_quarantines)),
    ConsoleRoute(
        "new_quarantine",
        "/console/quarantines/new",
        page("quarantines:manage", quarantines_pages.show_form),
        page("quarantines:manage", quarantines_pages.create_quarantine),
    ),
    ConsoleRoute(
        "quarantine",
        "/console/quarantines/{id}",
        page("results:read", quarantines_pages.show_quarantine),
        page("quarantines:manage", quarantines_pages.change_quarantine),
    ),
    ConsoleRoute(
        "end_quarantine",
        "/console/quarantines/{id}/end",
        post=page("quarantines:manage", quarantines_pages.end_quarantine),
    ),
    ConsoleRoute(
        "exports",
        "/console/exports",
        page("results:export", exports_pages.show_exports),
        page("results:export", exports_pages.create_export),
    ),
    ConsoleRoute(
        "exports_stream", "/console/exports/stream", require_session("results:export", events_pages.stream_exports)
    ),
    ConsoleRoute("export_file", "/console/exports/{id}/file", page("results:export", exports_pages.download_export)),
    ConsoleRoute(
        "repeat_export", "/console/exports/{id}/repeat", post=page("results:export", exports_pages.repeat_export)
    ),
    ConsoleRoute(
        "delete_export", "/console/exports/{id}/delete", post=page("results:export", exports_pages.delete_export)
    ),
    ConsoleRoute(
        "members",
        "/console/members",
        page("keys:manage", members_pages.show_members),
        page("keys:manage", members_pages.create_member),
    ),
    ConsoleRoute(
        "member",
        "/console/members/{id}",
        page("keys:manage", members_pages.show_member),
        page("keys:manage", members_pages.change_member),
    ),
    ConsoleRoute(
        "remove_member", "/console/members/{id}/remove", post=page("keys:manage", members_pages.remove_member)
    ),
    ConsoleRoute("publishers", "/console/publishers", page("keys:manage", publishers_pages.show_publishers)),
    ConsoleRoute(
        "new_publisher",
        "/console/publishers/new",
        page("keys:manage", publishers_pages.show_form),
        page("keys:manage", publishers_pages.create_publisher),
    ),
    ConsoleRoute(
        "enable_publisher",
        "/console/publishers/{id}/enable",
        post=page("keys:manage", publishers_pages.enable_publisher),
    ),
    ConsoleRoute(
        "disable_publisher",
        "/console/publishers/{id}/disable",
        post=page("keys:manage", publishers_pages.disable_publisher),
    ),
    ConsoleRoute(
        "remove_publisher",
        "/console/publishers/{id}/remove",
        post=page("keys:manage", publishers_pages.remove_publisher),
    ),
)


def add_routes(app: web.Application) -> None:
    """Register every path. Fixed paths precede paths with a variable."""
    for route in sorted(ROUTES, key=lambda route: route.path.replace("{", "~")):
        resource = app.router.add_resource(router_path(route.path), name=route.name)
        if route.get is not None:
            resource.add_route("GET", route.get, expect_handler=handle_expect)
            resource.add_route("HEAD", route.get, expect_handler=handle_expect)
        if route.post is not None:
            resource.add_route("POST", route.post, expect_handler=handle_expect)
