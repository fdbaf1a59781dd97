"""Pages: HTML that Jinja2 renders from templates, with the values that every template can use."""

from collections.abc import Mapping
from typing import Any, Final
from urllib.parse import quote, urlencode

import aiohttp_jinja2
import jinja2
from aiohttp import web

from service.api.http.responses import REQUEST_ID
from service.console.authentication import get_session
from service.console.sessions import SESSIONS
from service.console.static_files import STATIC_FILES
from service.console.template_functions import add_functions
from service.domain.failures import strip_escapes
from service.domain.keys import permissions_of
from service.domain.sessions import form_token
from service.version import NAME, describe_build

_PACKAGE: Final = "service.console"
_ESCAPE: Final = "\x1b"


def set_up_templates(app: web.Application) -> None:
    """Load the templates of this package. An undefined value in a template is an error."""
    environment = aiohttp_jinja2.setup(
        app,
        loader=jinja2.PackageLoader(_PACKAGE),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        auto_reload=False,
        default_helpers=False,
        finalize=_strip_escapes,
    )
    add_functions(environment)
    environment.globals["product"] = f"{NAME} {describe_build()}"
    environment.globals["static"] = lambda name: page_url(app, "static", name=app[STATIC_FILES].hashed_name(name))
    environment.globals["url"] = lambda page, query=None, **parts: page_url(app, page, query, **parts)


def _strip_escapes(value: object) -> object:
    """Return the value of an expression in a template, a text without escape sequences.

    Names, suites, and types of failures can have the colors of a terminal.
    """
    if isinstance(value, str) and _ESCAPE in value:
        return type(value)(strip_escapes(value))  # safe HTML stays safe HTML
    return value


def render(request: web.Request, template: str, context: Mapping[str, Any], status: int = 200) -> web.Response:
    """Return a page. Templates get the context and the values of `_common`."""
    return aiohttp_jinja2.render_template(template, request, {**_common(request), **context}, status=status)


def page_url(app: web.Application, page: str, query: Mapping[str, Any] | None = None, **parts: str) -> str:
    """Return the path of a page by its name in routes.py, with its parts and its query parameters.

    A list in the query repeats its parameter. Parameters without a value are left out.
    """
    path = app.router[page].canonical.format_map({name: quote(part, safe="") for name, part in parts.items()})
    given = {name: value for name, value in (query or {}).items() if value not in (None, "", [])}
    return f"{path}?{urlencode(given, doseq=True)}" if given else path


def _common(request: web.Request) -> dict[str, Any]:
    """Return the values for every template.

    `session` is None without a session. `permissions` are those of its role. Each form contains `form_token`.
    """
    session, session_id = get_session(request), request.app[SESSIONS].cookie.read(request)
    return {
        "session": session,
        "permissions": permissions_of(session.caller.role) if session else frozenset(),
        "form_token": form_token(session_id) if session and session_id else "",
        "path": request.path,
        "request_id": request[REQUEST_ID],
    }
