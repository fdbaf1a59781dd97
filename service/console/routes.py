"""The URLs of the console. A new page is a handler and a row here; templates link to it by its name."""

from typing import Final, NamedTuple

from aiohttp import web

from service.api.http.authentication import ApiHandler
from service.api.http.paths import router_path
from service.api.server.connections import handle_expect
from service.console.authentication import SIGN_IN_PATH, page, require_session
from service.console.handlers import (
    artifacts,
    cases,
    decisions,
    exports,
    failures,
    health,
    members,
    promotions,
    publishers,
    quarantines,
    results,
    root,
    run_details,
    runs,
    sign_in,
    single_sign_on,
    stream,
    tests,
)
from service.console.static_files import get_static_file


class ConsoleRoute(NamedTuple):
    """A path with its name and handlers. A path with `get` also serves HEAD."""

    name: str
    path: str
    get: ApiHandler | None = None
    post: ApiHandler | None = None


ROUTES: Final = (
    ConsoleRoute("root", "/", root.redirect_browser),
    ConsoleRoute("console", "/console", root.redirect_to_runs),
    ConsoleRoute("console_folder", "/console/", root.redirect_to_runs),
    ConsoleRoute("static", "/console/static/{name}", get_static_file),
    ConsoleRoute("sign_in", SIGN_IN_PATH, sign_in.show_sign_in, sign_in.sign_in),
    ConsoleRoute("start_sign_in", f"{SIGN_IN_PATH}/start", single_sign_on.start),
    ConsoleRoute("finish_sign_in", f"{SIGN_IN_PATH}/callback", single_sign_on.finish),
    ConsoleRoute("choose_membership", f"{SIGN_IN_PATH}/choose", single_sign_on.show_choices, single_sign_on.choose),
    ConsoleRoute("sign_out", "/console/sign-out", post=page(None, sign_in.sign_out)),
    ConsoleRoute("stream", "/console/stream", require_session("results:read", stream.stream_changes)),
    ConsoleRoute("runs", "/console/runs", page("results:read", runs.show_runs)),
    ConsoleRoute("run", "/console/runs/{run_id}", page("results:read", run_details.show_run)),
    ConsoleRoute("run_changes", "/console/runs/{run_id}/changes", page("results:read", run_details.show_changes)),
    ConsoleRoute("run_results", "/console/runs/{run_id}/results", page("results:read", run_details.show_results)),
    ConsoleRoute("decide", "/console/runs/{run_id}/decisions", post=page("reports:create", decisions.create_decision)),
    ConsoleRoute("promote", "/console/runs/{run_id}/promotion", post=page("runs:promote", promotions.promote_run)),
    ConsoleRoute("result", "/console/results/{id}", page("results:read", results.show_result)),
    ConsoleRoute("artifact", "/console/artifacts/{id}", page("results:read", artifacts.show_artifact)),
    ConsoleRoute("waive", "/console/decisions/{id}/waiver", post=page("gates:manage", decisions.waive_decision)),
    ConsoleRoute(
        "case",
        "/console/cases/{case_id}",
        page("results:read", cases.show_case),
        page("quarantines:manage", cases.quarantine_case),
    ),
    ConsoleRoute("tests", "/console/tests", page("results:read", tests.show_tests)),
    ConsoleRoute("health", "/console/health", page("results:read", health.show_health)),
    ConsoleRoute(
        "failure",
        "/console/failures/{id}",
        page("results:read", failures.show_failure),
        page("quarantines:manage", failures.set_failure_ticket),
    ),
    ConsoleRoute("quarantines", "/console/quarantines", page("results:read", quarantines.show_quarantines)),
    ConsoleRoute(
        "new_quarantine",
        "/console/quarantines/new",
        page("quarantines:manage", quarantines.show_form),
        page("quarantines:manage", quarantines.create_quarantine),
    ),
    ConsoleRoute(
        "quarantine",
        "/console/quarantines/{id}",
        page("results:read", quarantines.show_quarantine),
        page("quarantines:manage", quarantines.change_quarantine),
    ),
    ConsoleRoute(
        "end_quarantine",
        "/console/quarantines/{id}/end",
        post=page("quarantines:manage", quarantines.end_quarantine),
    ),
    ConsoleRoute(
        "exports",
        "/console/exports",
        page("results:export", exports.show_exports),
        page("results:export", exports.create_export),
    ),
    ConsoleRoute("exports_stream", "/console/exports/stream", require_session("results:export", stream.stream_exports)),
    ConsoleRoute("export_file", "/console/exports/{id}/file", page("results:export", exports.download_export)),
    ConsoleRoute("repeat_export", "/console/exports/{id}/repeat", post=page("results:export", exports.repeat_export)),
    ConsoleRoute("delete_export", "/console/exports/{id}/delete", post=page("results:export", exports.delete_export)),
    ConsoleRoute(
        "members",
        "/console/members",
        page("keys:manage", members.show_members),
        page("keys:manage", members.create_member),
    ),
    ConsoleRoute(
        "member",
        "/console/members/{id}",
        page("keys:manage", members.show_member),
        page("keys:manage", members.change_member),
    ),
    ConsoleRoute("remove_member", "/console/members/{id}/remove", post=page("keys:manage", members.remove_member)),
    ConsoleRoute("publishers", "/console/publishers", page("keys:manage", publishers.show_publishers)),
    ConsoleRoute(
        "new_publisher",
        "/console/publishers/new",
        page("keys:manage", publishers.show_form),
        page("keys:manage", publishers.create_publisher),
    ),
    ConsoleRoute(
        "enable_publisher",
        "/console/publishers/{id}/enable",
        post=page("keys:manage", publishers.enable_publisher),
    ),
    ConsoleRoute(
        "disable_publisher",
        "/console/publishers/{id}/disable",
        post=page("keys:manage", publishers.disable_publisher),
    ),
    ConsoleRoute(
        "remove_publisher",
        "/console/publishers/{id}/remove",
        post=page("keys:manage", publishers.remove_publisher),
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
