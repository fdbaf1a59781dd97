"""The composition of the console, which is a part of the application of the API."""

from http import HTTPStatus
from typing import Final
from urllib.parse import urlsplit

from aiohttp import web

from service.console.labels import label_message
from service.console.rendering import STATIC_FILES, read_static_files, render, set_up_templates
from service.console.routes import add_routes
from service.console.sessions import SESSIONS, make_sessions
from service.http.authentication import ApiHandler
from service.http.errors import report_error

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
    """Return the page for an exception, without internals. The page for a form names the label of the field."""
    report = report_error(request, error)
    if request.method == "POST":
        report = report._replace(message=label_message(report.message))
    title = _TITLES.get(report.status) or HTTPStatus(report.status).phrase
    response = render(request, "error.html", {"title": title, "error": report}, report.status)
    response.headers.update(report.headers)
    return response


# Origin must not be "null" in forms, so the policy of the referrer is same-origin instead of no-referrer.
_HEADERS: Final = {
    "Content-Security-Policy": "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self';"
    " connect-src 'self'; form-action 'self'; base-uri 'none'; frame-ancestors 'none'",
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "same-origin",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
}


async def add_security_headers(request: web.Request, response: web.StreamResponse) -> None:
    """Add the headers that the handler didn't set itself."""
    if is_console(request):
        for name, value in _HEADERS.items():
            response.headers.setdefault(name, value)


def add_console(app: web.Application, public_url: str | None) -> None:
    """Add the pages of the console to the application of the API."""
    app[SESSIONS] = make_sessions(is_https=urlsplit(public_url or "").scheme == "https")
    app[STATIC_FILES] = read_static_files()
    app.middlewares.insert(1, show_errors)  # inside of the request ID, and around the limits
    app.on_response_prepare.append(add_security_headers)
    set_up_templates(app)
    add_routes(app)
