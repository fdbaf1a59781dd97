"""The pages of the console: the rows of all subjects, and the paths that lead to them.

A new page is a row and a handler in the module `pages` of its subject. A new subject is also a line here.
"""

from typing import Final

from aiohttp import web

from service.api.server.connections import handle_expect
from service.artifacts import pages as artifacts_pages
from service.cases import owner_pages
from service.cases import pages as cases_pages
from service.console.forms import redirect
from service.console.pages import ConsoleRoute
from service.console.rendering import get_static_file, page_url
from service.costs import pages as costs_pages
from service.events import pages as events_pages
from service.exports import pages as exports_pages
from service.failures import pages as failures_pages
from service.gates import pages as gates_pages
from service.http.responses import accepted
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


ROUTES: Final = (
    ConsoleRoute("root", "/", redirect_browser),
    ConsoleRoute("console", "/console", redirect_to_runs),
    ConsoleRoute("console_folder", "/console/", redirect_to_runs),
    ConsoleRoute("static", "/console/static/{name}", get_static_file),
    *sign_in_pages.ROUTES,
    *runs_pages.ROUTES,
    *run_pages.ROUTES,
    *results_pages.ROUTES,
    *artifacts_pages.ROUTES,
    *cases_pages.ROUTES,
    *owner_pages.ROUTES,
    *stats_pages.ROUTES,
    *costs_pages.ROUTES,
    *failures_pages.ROUTES,
    *gates_pages.ROUTES,
    *quarantines_pages.ROUTES,
    *exports_pages.ROUTES,
    *events_pages.ROUTES,
    *members_pages.ROUTES,
    *publishers_pages.ROUTES,
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
