"""Redirects to the first page of the console."""

from typing import Final

from aiohttp import web

from service.api.http.accept import accepted
from service.console.authentication import redirect
from service.console.pages import page_url

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
