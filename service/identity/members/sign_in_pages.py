"""Sign in with an API key or at an OpenID Connect provider, choose one of several memberships, and sign out."""

import re
import time
from typing import Final
from urllib.parse import unquote

from aiohttp import web

from service.console.forms import apply_change, check_form, get_form, redirect
from service.console.pages import SIGN_IN_PATH, ConsoleRoute, get_session, page
from service.console.rendering import page_url, render
from service.console.sessions import SESSIONS, find_session
from service.domain.errors import InvalidRequest, NotFound, RateLimitExceeded, Unauthorized, Unavailable
from service.http.authentication import authenticate_key, get_caller
from service.http.errors import ErrorReport, report_error
from service.http.process import RESOURCES
from service.identity.keys.model import ParsedKey, parse_key
from service.identity.members import operations, single_sign_on
from service.identity.members.model import Identity, Membership, form_token, is_session_id, new_session_id
from service.identity.members.sign_ins import (
    OidcClient,
    SignInAttempt,
    StatedIdentity,
    check_state,
    new_attempt,
    read_attempt,
    write_attempt,
)
from service.mutations.operations import Transaction

_LOCAL_PATH: Final = re.compile(r"/console(?:[/?][!-\[\]-~]*)?", re.ASCII)  # printable, without spaces and backslashes
_QUERY: Final = re.compile(r"[?#]")  # the start of the query or fragment
_FIELD: Final = re.compile(r"(?:key|Authorization): ")
_MAX_PATH: Final = 2_000
_REJECTIONS: Final = (InvalidRequest, Unauthorized, Unavailable, RateLimitExceeded)


async def show_sign_in(request: web.Request) -> web.Response:
    """Return the form, or redirect a browser that is already signed in."""
    target = _next(request)
    try:
        await find_session(request)
    except (Unauthorized, RateLimitExceeded):
        return _sign_in_page(request, target)
    return redirect(target)


async def sign_in(request: web.Request) -> web.Response:
    """Create a session with a new ID, so that no other client knows it, and continue to the requested page."""
    await check_form(request)
    form = get_form(request)
    target = _local_target(request, form.get("next", ""))
    try:
        return await _create_session(request, form.get("key", "").strip(), target)
    except (Unauthorized, RateLimitExceeded) as error:
        return _sign_in_page(request, target, key_error=report_error(request, error))


async def start_sign_in(request: web.Request) -> web.Response:
    """Redirect the browser to the provider, also if the person wants to select another membership."""
    client, attempt = _client(request), new_attempt(_next(request), time.time())
    issuers, as_other = request.app[RESOURCES].issuers, "other" in request.query
    try:
        _count(request)
        url = await single_sign_on.find_authorization_url(issuers, client, attempt, as_other=as_other)
    except _REJECTIONS as error:
        return _sign_in_page(request, attempt.target, provider_error=report_error(request, error))
    response = redirect(url)
    request.app[SESSIONS].sign_in_cookie.write(response, write_attempt(attempt))
    return response


async def finish_sign_in(request: web.Request) -> web.Response:
    """Continue the sign-in of a browser that the provider has redirected. Each attempt can be used once."""
    client, cookie = _client(request), request.app[SESSIONS].sign_in_cookie
    try:
        attempt = read_attempt(cookie.read(request), time.time())
        check_state(attempt, [*request.query.items()])
    except InvalidRequest as error:  # the cookie can belong to a newer attempt
        return _sign_in_page(request, _local_target(request, ""), provider_error=report_error(request, error))
    response = await _finish(request, client, attempt)
    if cookie.name not in response.cookies:
        cookie.delete(response)
    return response


async def show_choices(request: web.Request) -> web.Response:
    """Show the memberships of a person who has several ones."""
    try:
        identity = await _postponed(request)
    except (Unauthorized, RateLimitExceeded) as error:
        return _sign_in_page(request, _next(request), provider_error=report_error(request, error))
    choices = await single_sign_on.find_choices(request.app[RESOURCES].pool, identity)
    return _render_form(request, "memberships.html", {"choices": choices, "next": _next(request)})


async def choose_membership(request: web.Request) -> web.Response:
    """Sign in with the selected membership."""
    await check_form(request)
    form, resources = get_form(request), request.app[RESOURCES]
    target = _local_target(request, form.get("next", ""))
    try:
        identity = await _postponed(request)
        choices = await single_sign_on.find_choices(resources.pool, identity)
        selected = _select(choices, form.get("member_id", ""))
        response = await _open_session(request, selected, identity, target, has_choices=len(choices) > 1)
    except (InvalidRequest, Unauthorized, RateLimitExceeded) as error:
        return _sign_in_page(request, target, provider_error=report_error(request, error))
    cookie = request.app[SESSIONS].sign_in_cookie
    await single_sign_on.end_postponed(resources.pool, cookie.read(request))
    cookie.delete(response)
    return response


async def sign_out(request: web.Request) -> web.Response:
    """End the session, and let the browser of a person continue to the sign-out of the provider.

    The redirect of a form to another server isn't allowed by the Content-Security-Policy, so a page redirects to it.
    """
    sessions, caller = request.app[SESSIONS], get_caller(request)
    session_id = sessions.read_id(request) or ""

    async def end(transaction: Transaction) -> str:
        await operations.sign_out(transaction, caller, session_id)
        return SIGN_IN_PATH

    response = await apply_change(request, caller, end)
    sessions.cache.pop(session_id, None)
    url = await _find_sign_out_url(request)
    if url is not None:
        response = render(
            request, "signed_out.html", {"session": None, "permissions": frozenset(), "provider_url": url}
        )
    sessions.cookie.delete(response)
    return response


def _next(request: web.Request) -> str:
    return _local_target(request, request.query.get("next", ""))


def _local_target(request: web.Request, path: str) -> str:
    """Return the path of the page to continue with: the given one if it is a local path under /console."""
    segments = unquote(_QUERY.split(path)[0]).split("/")
    is_local = len(path) <= _MAX_PATH and _LOCAL_PATH.fullmatch(path) and not {".", ".."}.intersection(segments)
    return path if is_local else page_url(request.app, "runs")


def _sign_in_page(
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
        "key_problem": _describe_problem(key_error),
        "provider_problem": _describe_problem(provider_error),
    }
    response = _render_form(request, "sign_in.html", context, error.status if error else 200)
    if error is not None:
        response.headers.update(error.headers)
    return response


def _render_form(request: web.Request, template: str, context: dict[str, object], status: int = 200) -> web.Response:
    """Return a page with a form for a browser that isn't signed in.

    The token of the form belongs to the cookie of the browser, which gets one if it has none.
    """
    sessions = request.app[SESSIONS]
    sent_id = sessions.read_id(request)
    session_id = sent_id or new_session_id()
    response = render(request, template, {**context, "form_token": form_token(session_id)}, status)
    if sent_id is None:
        sessions.cookie.write(response, session_id)
    return response


def _describe_problem(error: ErrorReport | None) -> str | None:
    """Return the message without the name of the field, which the form shows with another name."""
    if error is None:
        return None
    text = _FIELD.sub("", error.message, count=1)
    return text[:1].upper() + text[1:]


async def _create_session(request: web.Request, key: str, target: str) -> web.Response:
    """Create a session, and redirect to the target. Raises Unauthorized, and RateLimitExceeded."""
    session_id = new_session_id()
    _count(request)
    parsed, caller = _parse(key), await authenticate_key(request, key)

    async def create(transaction: Transaction) -> str:
        await operations.sign_in(transaction, caller, parsed.secret, session_id)
        return target

    response = await apply_change(request, caller, create)
    request.app[SESSIONS].cookie.write(response, session_id)
    return response


def _parse(key: str) -> ParsedKey:
    """Return the parts of the key. Raises Unauthorized."""
    parsed = parse_key(key)
    if parsed is None:
        raise Unauthorized("key: must be a complete API key, which starts with zof_")
    return parsed


def _count(request: web.Request) -> None:
    """Count an attempt of the client address. Raises RateLimitExceeded."""
    limit = request.app[SESSIONS].sign_ins
    limit.check(request.remote)
    limit.spend(request.remote)


def _client(request: web.Request) -> OidcClient:
    client: OidcClient | None = request.app[RESOURCES].settings.oidc_client
    if client is None:
        raise NotFound("this server has no sign-in with OpenID Connect; sign in with an API key")
    return client


async def _finish(request: web.Request, client: OidcClient, attempt: SignInAttempt) -> web.Response:
    target = _local_target(request, attempt.target)
    try:
        _count(request)
        stated = await single_sign_on.identify(
            request.app[RESOURCES].issuers, client, attempt, [*request.query.items()]
        )
        return await _continue(request, stated, target)
    except _REJECTIONS as error:
        return _sign_in_page(request, target, provider_error=report_error(request, error))


async def _continue(request: web.Request, stated: StatedIdentity, target: str) -> web.Response:
    """Open a session with the only membership, or let the person choose."""
    pool, identity = request.app[RESOURCES].pool, stated.identity
    choices = await single_sign_on.find_choices(pool, identity)
    if not choices:
        return render(request, "no_membership.html", {"stated": stated, "next": target}, 403)
    if len(choices) == 1:
        return await _open_session(request, choices[0], identity, target, has_choices=False)
    sign_in_id = new_session_id()
    await single_sign_on.postpone(pool, identity, sign_in_id)
    response = redirect(page_url(request.app, "choose_membership", {"next": target}))
    request.app[SESSIONS].sign_in_cookie.write(response, sign_in_id)
    return response


async def _open_session(
    request: web.Request, membership: Membership, identity: Identity, target: str, *, has_choices: bool
) -> web.Response:
    """Create a session with a new ID, end the previous one of the browser, and continue to the target."""
    session_id = new_session_id()
    caller = await single_sign_on.recognize(request.app[RESOURCES].pool, membership, identity)

    async def create(transaction: Transaction) -> str:
        await single_sign_on.sign_in(transaction, caller, membership.member_id, session_id, has_choices=has_choices)
        return target

    await _end_previous(request)
    response = await apply_change(request, caller, create)
    request.app[SESSIONS].cookie.write(response, session_id)
    return response


async def _end_previous(request: web.Request) -> None:
    sessions = request.app[SESSIONS]
    session_id = sessions.read_id(request)
    try:
        previous = await find_session(request)
    except (Unauthorized, RateLimitExceeded):
        return
    if session_id is not None:
        await operations.end_session(request.app[RESOURCES].pool, previous.caller, session_id)
        sessions.cache.pop(session_id, None)


async def _postponed(request: web.Request) -> Identity:
    """Return the person who has signed in at the provider. Raises Unauthorized, and RateLimitExceeded."""
    sign_in_id = request.app[SESSIONS].sign_in_cookie.read(request)
    if not is_session_id(sign_in_id):
        raise _expired()
    async with request.app[SESSIONS].unknown.lookup(request.remote, sign_in_id):
        identity = await single_sign_on.find_postponed(request.app[RESOURCES].pool, sign_in_id)
        if identity is None:
            raise _expired()
    return identity


def _expired() -> Unauthorized:
    return Unauthorized("the sign-in has expired; start again")


def _select(choices: list[Membership], member_id: str) -> Membership:
    """Return the selected membership. Raises InvalidRequest if it was removed in the meantime."""
    for choice in choices:
        if choice.member_id == member_id:
            return choice
    raise InvalidRequest("the selected membership was removed; start again")


async def _find_sign_out_url(request: web.Request) -> str | None:
    """Return the URL at which a person signs out at the provider, too. None for a key."""
    session, resources = get_session(request), request.app[RESOURCES]
    client = resources.settings.oidc_client
    if client is None or session is None or not session.is_person:
        return None
    return await single_sign_on.find_sign_out_url(
        resources.issuers, client, f"{resources.settings.link_base}{SIGN_IN_PATH}"
    )


ROUTES: Final = (
    ConsoleRoute("sign_in", SIGN_IN_PATH, show_sign_in, sign_in),
    ConsoleRoute("start_sign_in", f"{SIGN_IN_PATH}/start", start_sign_in),
    ConsoleRoute("finish_sign_in", f"{SIGN_IN_PATH}/callback", finish_sign_in),
    ConsoleRoute("choose_membership", f"{SIGN_IN_PATH}/choose", show_choices, choose_membership),
    ConsoleRoute("sign_out", "/console/sign-out", post=page(None, sign_out)),
)
