"""Sign in with an API key, and sign out."""

import re
from typing import Final
from urllib.parse import unquote

from aiohttp import web

from service.api.http.authentication import authenticate_key, get_caller
from service.api.http.errors import ErrorReport, report_error
from service.console.authentication import SIGN_IN_PATH, redirect
from service.console.changes import apply_change
from service.console.forms import check_form, get_form
from service.console.pages import page_url, render
from service.console.sessions import SESSIONS, find_session
from service.domain.errors import RateLimitExceeded, Unauthorized
from service.domain.keys import ParsedKey, parse_key
from service.domain.sessions import form_token, new_session_id
from service.usecases.administration import sessions as usecase
from service.usecases.administration.mutate import Transaction

_LOCAL_PATH: Final = re.compile(r"/console(?:[/?][!-\[\]-~]*)?", re.ASCII)  # printable, without spaces and backslashes
_QUERY: Final = re.compile(r"[?#]")  # the start of the query or fragment
_FIELD: Final = re.compile(r"(?:key|Authorization): ")
_MAX_PATH: Final = 2_000


async def show_sign_in(request: web.Request) -> web.Response:
    """Return the form, or redirect a browser that is already signed in."""
    target = _target(request, request.query.get("next", ""))
    if await _is_signed_in(request):
        return redirect(target)
    return _form(request, target)


async def sign_in(request: web.Request) -> web.Response:
    """Create a session with a new ID, so that no other client knows it, and continue to the requested page."""
    await check_form(request)
    form = get_form(request)
    target = _target(request, form.get("next", ""))
    try:
        return await _create_session(request, form.get("key", "").strip(), target)
    except (Unauthorized, RateLimitExceeded) as error:
        return _form(request, target, report_error(request, error))


async def sign_out(request: web.Request) -> web.Response:
    """End the session."""
    sessions, caller = request.app[SESSIONS], get_caller(request)
    session_id = sessions.cookie.read(request) or ""

    async def end(transaction: Transaction) -> str:
        await usecase.sign_out(transaction, caller, session_id)
        return SIGN_IN_PATH

    response = await apply_change(request, caller, end)
    sessions.cache.pop(session_id, None)
    sessions.cookie.delete(response)
    return response


async def _create_session(request: web.Request, key: str, target: str) -> web.Response:
    """Create a session, and redirect to the target. Raises Unauthorized, and RateLimitExceeded."""
    sessions, session_id = request.app[SESSIONS], new_session_id()
    sessions.sign_ins.check(request.remote)
    sessions.sign_ins.spend(request.remote)
    parsed, caller = _parse(key), await authenticate_key(request, key)

    async def create(transaction: Transaction) -> str:
        await usecase.sign_in(transaction, caller, parsed.secret, session_id)
        return target

    response = await apply_change(request, caller, create)
    sessions.cookie.write(response, session_id)
    return response


def _parse(key: str) -> ParsedKey:
    """Return the parts of the key. Raises Unauthorized."""
    parsed = parse_key(key)
    if parsed is None:
        raise Unauthorized("key: must be a complete API key, which starts with zof_")
    return parsed


def _form(request: web.Request, target: str, error: ErrorReport | None = None) -> web.Response:
    """Return the sign-in form. Its token belongs to the cookie of the browser, which gets one if it has none."""
    cookie = request.app[SESSIONS].cookie
    sent_id = cookie.read(request)
    session_id = sent_id or new_session_id()
    problem = _describe(error) if error else None
    context = {"next": target, "problem": problem, "form_token": form_token(session_id)}
    response = render(request, "sign_in.html", context, error.status if error else 200)
    if sent_id is None:
        cookie.write(response, session_id)
    if error is not None:
        response.headers.update(error.headers)
    return response


def _describe(error: ErrorReport) -> str:
    """Return the message without the name of the field, which the form shows with another name."""
    text = _FIELD.sub("", error.message, count=1)
    return text[:1].upper() + text[1:]


async def _is_signed_in(request: web.Request) -> bool:
    try:
        await find_session(request)
    except (Unauthorized, RateLimitExceeded):
        return False
    return True


def _target(request: web.Request, path: str) -> str:
    """Return the path of the page to continue with: the given one if it is a local path under /console."""
    segments = unquote(_QUERY.split(path)[0]).split("/")
    is_local = len(path) <= _MAX_PATH and _LOCAL_PATH.fullmatch(path) and not {".", ".."}.intersection(segments)
    return path if is_local else page_url(request.app, "runs")
