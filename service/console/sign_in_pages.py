"""The sign-in page, which several handlers show, and the path with which a browser continues after the sign-in."""

import re
from typing import Final
from urllib.parse import unquote

from aiohttp import web

from service.api.http.errors import ErrorReport
from service.api.resources import RESOURCES
from service.console.pages import page_url, render
from service.console.sessions import SESSIONS
from service.domain.sessions import form_token, new_session_id

_LOCAL_PATH: Final = re.compile(r"/console(?:[/?][!-\[\]-~]*)?", re.ASCII)  # printable, without spaces and backslashes
_QUERY: Final = re.compile(r"[?#]")  # the start of the query or fragment
_FIELD: Final = re.compile(r"(?:key|Authorization): ")
_MAX_PATH: Final = 2_000


def local_target(request: web.Request, path: str) -> str:
    """Return the path of the page to continue with: the given one if it is a local path under /console."""
    segments = unquote(_QUERY.split(path)[0]).split("/")
    is_local = len(path) <= _MAX_PATH and _LOCAL_PATH.fullmatch(path) and not {".", ".."}.intersection(segments)
    return path if is_local else page_url(request.app, "runs")


def sign_in_page(
    request: web.Request,
    target: str,
    *,
    key_error: ErrorReport | None = None,
    provider_error: ErrorReport | None = None,
) -> web.Response:
    """Return the sign-in page, with the error of a key or of the sign-in at the provider, if any."""
    error = key_error or provider_error
    context = {
        "next": target,
        "has_provider": request.app[RESOURCES].settings.oidc_client is not None,
        "key_problem": _describe(key_error),
        "provider_problem": _describe(provider_error),
    }
    response = render_form(request, "sign_in.html", context, error.status if error else 200)
    if error is not None:
        response.headers.update(error.headers)
    return response


def render_form(request: web.Request, template: str, context: dict[str, object], status: int = 200) -> web.Response:
    """Return a page with a form for a browser that isn't signed in.

    The token of the form belongs to the cookie of the browser, which gets one if it has none.
    """
    cookie = request.app[SESSIONS].cookie
    sent_id = cookie.read(request)
    session_id = sent_id or new_session_id()
    response = render(request, template, {**context, "form_token": form_token(session_id)}, status)
    if sent_id is None:
        cookie.write(response, session_id)
    return response


def _describe(error: ErrorReport | None) -> str | None:
    """Return the message without the name of the field, which the form shows with another name."""
    if error is None:
        return None
    text = _FIELD.sub("", error.message, count=1)
    return text[:1].upper() + text[1:]
