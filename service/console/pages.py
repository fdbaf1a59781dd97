"""What a page is: a row with its URL, and the checks before its handler.

The checks concern the session, the rate limit, the permission, and for a form its origin and token.
"""

from typing import Final, NamedTuple
from urllib.parse import urlencode

from aiohttp import web

from service.console.filters import find_shorter_url
from service.console.forms import check_form, redirect
from service.console.sessions import find_session
from service.domain.errors import Unauthorized
from service.http.authentication import ApiHandler, admit_caller
from service.identity.keys.model import Permission
from service.identity.members.model import Session

SIGN_IN_PATH: Final = "/console/sign-in"
_SESSION: Final = web.RequestKey("session", Session)


class ConsoleRoute(NamedTuple):
    """A path with its name and handlers. A path with `get` also serves HEAD. Templates link to it by its name."""

    name: str
    path: str
    get: ApiHandler | None = None
    post: ApiHandler | None = None


def get_session(request: web.Request) -> Session | None:
    """Return the session of a request whose handler requires one; None for other requests."""
    return request.get(_SESSION)


def page(permission: Permission | None, handler: ApiHandler) -> ApiHandler:
    """Wrap the handler of a page like `require_session`, but redirect a browser without a session to the sign-in page.

    The sign-in page then returns to the requested page. A form that was sent without a session is lost. A URL with
    empty filters is redirected to the one without them, so that links and bookmarks are short.
    """
    admitted = require_session(permission, handler)

    async def guarded(request: web.Request) -> web.StreamResponse:
        try:
            await find_session(request)
        except Unauthorized:
            target = request.path_qs if request.method in ("GET", "HEAD") else None
            return redirect(f"{SIGN_IN_PATH}?{urlencode({'next': target})}" if target else SIGN_IN_PATH)
        shorter_url = find_shorter_url(request)
        return redirect(shorter_url) if shorter_url else await admitted(request)

    return guarded


def require_session(permission: Permission | None, handler: ApiHandler) -> ApiHandler:
    """Wrap the handler so that it authenticates the session, counts the request, and checks the permission.

    A POST request must be a form of the console. Raises Unauthorized if there is no session.
    """

    async def guarded(request: web.Request) -> web.StreamResponse:
        request[_SESSION] = session = await find_session(request)
        await admit_caller(request, session.caller, *([permission] if permission else []))
        if request.method == "POST":
            await check_form(request)
        return await handler(request)

    return guarded
