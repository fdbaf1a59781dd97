"""Error pages: under /console, an error is a page instead of JSON."""

from http import HTTPStatus
from typing import Final

from aiohttp import web

from service.api.http.authentication import ApiHandler
from service.api.http.errors import report_error
from service.console.labels import label_message
from service.console.pages import render

PREFIX: Final = "/console"
_TITLES: Final = {
    403: "Not permitted",
    404: "Page not found",
    500: "Internal error",
    503: "Temporarily unavailable",
}


def is_console(request: web.Request) -> bool:
    """Return whether the request is for a page of the console."""
    return request.path == PREFIX or request.path.startswith(f"{PREFIX}/")


@web.middleware
async def show_errors(request: web.Request, handler: ApiHandler) -> web.StreamResponse:
    """Convert the exceptions of pages to error pages. The middleware of the API converts all others to JSON."""
    if not is_console(request):
        return await handler(request)
    try:
        return await handler(request)
    except Exception as error:
        return error_page(request, error)


def error_page(request: web.Request, error: Exception) -> web.Response:
    """Return the page for an exception, without internals. That of a form names the label of the field."""
    report = report_error(request, error)
    if request.method == "POST":
        report = report._replace(message=label_message(report.message))
    title = _TITLES.get(report.status) or HTTPStatus(report.status).phrase
    response = render(request, "error.html", {"title": title, "error": report}, report.status)
    response.headers.update(report.headers)
    return response
