"""Sign in with an API key, and sign out."""

import re
import time
from typing import Final, NamedTuple
from urllib.parse import unquote

from aiohttp import web

from service.console.authentication import SIGN_IN_PATH, get_session, redirect
from service.console.changes import apply_change
from service.console.forms import check_form, get_form
from service.console.rendering import page_url, render
from service.console.sessions import SESSIONS, find_session
from service.domain.errors import InvalidRequest, NotFound, RateLimitExceeded, Unauthorized, Unavailable
from service.http.authentication import authenticate_key, get_caller
from service.http.errors import ErrorReport, report_error
from service.http.process import RESOURCES
from service.identity.keys.model import ParsedKey, parse_key
from service.identity.members import operations, single_sign_on
from service.identity.members.model import Identity, Membership, form_token, is_session_id, new_session_id
from service.identity.members.operations import end_session
from service.identity.members.sign_ins import (
    LIFETIME,
    OidcClient,
    SignInAttempt,
    StatedIdentity,
    check_state,
    new_attempt,
    read_attempt,
    write_attempt,
)
from service.identity.members.single_sign_on import find_sign_out_url
from service.mutations.operations import Transaction

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


async def show_sign_in(request: web.Request) -> web.Response:
    """Return the form, or redirect a browser that is already signed in."""
    target = local_target(request, request.query.get("next", ""))
    if await _is_signed_in(request):
        return redirect(target)
    return sign_in_page(request, target)


async def sign_in(request: web.Request) -> web.Response:
    """Create a session with a new ID, so that no other client knows it, and continue to the requested page."""
    await check_form(request)
    form = get_form(request)
    target = local_target(request, form.get("next", ""))
    try:
        return await _create_session(request, form.get("key", "").strip(), target)
    except (Unauthorized, RateLimitExceeded) as error:
        return sign_in_page(request, target, key_error=report_error(request, error))


async def sign_out(request: web.Request) -> web.Response:
    """End the session, and let the browser of a person continue to the sign-out of the provider.

    The redirect of a form to another server isn't allowed by the Content-Security-Policy, so a page redirects to it.
    """
    sessions, caller = request.app[SESSIONS], get_caller(request)
    session_id = sessions.cookie.read(request) or ""

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


async def _create_session(request: web.Request, key: str, target: str) -> web.Response:
    """Create a session, and redirect to the target. Raises Unauthorized, and RateLimitExceeded."""
    sessions, session_id = request.app[SESSIONS], new_session_id()
    sessions.sign_ins.check(request.remote)
    sessions.sign_ins.spend(request.remote)
    parsed, caller = _parse(key), await authenticate_key(request, key)

    async def create(transaction: Transaction) -> str:
        await operations.sign_in(transaction, caller, parsed.secret, session_id)
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


async def _is_signed_in(request: web.Request) -> bool:
    try:
        await find_session(request)
    except (Unauthorized, RateLimitExceeded):
        return False
    return True


async def _find_sign_out_url(request: web.Request) -> str | None:
    """Return the URL at which a person signs out at the provider, too. None for a key."""
    session, resources = get_session(request), request.app[RESOURCES]
    client = resources.settings.oidc_client
    if client is None or session is None or not session.is_person:
        return None
    return await find_sign_out_url(resources.issuers, client, f"{resources.settings.link_base}{SIGN_IN_PATH}")


_NAME: Final = "zof_results_sign_in"


class SignInCookie(NamedTuple):
    """The name and the attributes of the cookie. A script can't read it, and no form of another site sends it."""

    name: str
    path: str
    is_secure: bool

    def read(self, request: web.Request) -> str:
        """Return the value, which is empty if the cookie is missing."""
        return request.cookies.get(self.name, "")

    def write(self, response: web.StreamResponse, value: str) -> None:
        """Let the browser store the value for 10 minutes."""
        response.set_cookie(
            self.name,
            value,
            max_age=int(LIFETIME.total_seconds()),
            path=self.path,
            secure=self.is_secure,
            httponly=True,
            samesite="Lax",  # a navigation from the provider sends it
        )

    def delete(self, response: web.StreamResponse) -> None:
        """Let the browser delete the cookie."""
        response.del_cookie(self.name, path=self.path, secure=self.is_secure, httponly=True, samesite="Lax")


SIGN_IN_COOKIE: Final = web.AppKey("sign_in_cookie", SignInCookie)


def sign_in_cookie(*, is_https: bool) -> SignInCookie:
    """Return the cookie. With HTTPS, its prefix ensures that no other host and no insecure page has set it."""
    return SignInCookie(f"__Host-{_NAME}", "/", True) if is_https else SignInCookie(_NAME, "/console/sign-in", False)


_REJECTIONS: Final = (InvalidRequest, Unauthorized, Unavailable, RateLimitExceeded)


async def start(request: web.Request) -> web.Response:
    """Redirect the browser to the provider, also that of a person who wants to select another membership."""
    client, attempt = _client(request), new_attempt(local_target(request, request.query.get("next", "")), time.time())
    issuers, as_other = request.app[RESOURCES].issuers, "other" in request.query
    try:
        _count(request)
        url = await single_sign_on.find_authorization_url(issuers, client, attempt, as_other=as_other)
    except _REJECTIONS as error:
        return sign_in_page(request, attempt.target, provider_error=report_error(request, error))
    response = redirect(url)
    request.app[SIGN_IN_COOKIE].write(response, write_attempt(attempt))
    return response


async def finish(request: web.Request) -> web.Response:
    """Continue the sign-in of a browser that the provider has redirected. Each attempt can be used once."""
    client, cookie = _client(request), request.app[SIGN_IN_COOKIE]
    try:
        attempt = read_attempt(cookie.read(request), time.time())
        check_state(attempt, [*request.query.items()])
    except InvalidRequest as error:  # the cookie can be that of a newer attempt
        return sign_in_page(request, local_target(request, ""), provider_error=report_error(request, error))
    response = await _finish(request, client, attempt)
    if cookie.name not in response.cookies:
        cookie.delete(response)
    return response


async def show_choices(request: web.Request) -> web.Response:
    """Show the memberships of a person who has several ones."""
    try:
        identity = await _postponed(request)
    except (Unauthorized, RateLimitExceeded) as error:
        return sign_in_page(request, _next(request), provider_error=report_error(request, error))
    choices = await single_sign_on.find_choices(request.app[RESOURCES].pool, identity)
    return render_form(request, "memberships.html", {"choices": choices, "next": _next(request)})


async def choose(request: web.Request) -> web.Response:
    """Sign in with the selected membership."""
    await check_form(request)
    form, resources = get_form(request), request.app[RESOURCES]
    target = local_target(request, form.get("next", ""))
    try:
        identity = await _postponed(request)
        choices = await single_sign_on.find_choices(resources.pool, identity)
        selected = _select(choices, form.get("member_id", ""))
        response = await _open_session(request, selected, identity, target, has_choices=len(choices) > 1)
    except (InvalidRequest, Unauthorized, RateLimitExceeded) as error:
        return sign_in_page(request, target, provider_error=report_error(request, error))
    await single_sign_on.end_postponed(resources.pool, request.app[SIGN_IN_COOKIE].read(request))
    request.app[SIGN_IN_COOKIE].delete(response)
    return response


def _client(request: web.Request) -> OidcClient:
    client: OidcClient | None = request.app[RESOURCES].settings.oidc_client
    if client is None:
        raise NotFound("this server has no sign-in with OpenID Connect; sign in with an API key")
    return client


def _count(request: web.Request) -> None:
    """Count an attempt of the client address. Raises RateLimitExceeded."""
    limit = request.app[SESSIONS].sign_ins
    limit.check(request.remote)
    limit.spend(request.remote)


async def _finish(request: web.Request, client: OidcClient, attempt: SignInAttempt) -> web.Response:
    target = local_target(request, attempt.target)
    try:
        _count(request)
        stated = await single_sign_on.identify(
            request.app[RESOURCES].issuers, client, attempt, [*request.query.items()]
        )
        return await _continue(request, stated, target)
    except _REJECTIONS as error:
        return sign_in_page(request, target, provider_error=report_error(request, error))


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
    request.app[SIGN_IN_COOKIE].write(response, sign_in_id)
    return response


async def _open_session(
    request: web.Request, membership: Membership, identity: Identity, target: str, *, has_choices: bool
) -> web.Response:
    """Create a session with a new ID, end the previous one of the browser, and continue to the target."""
    sessions, session_id = request.app[SESSIONS], new_session_id()
    caller = await single_sign_on.recognize(request.app[RESOURCES].pool, membership, identity)

    async def create(transaction: Transaction) -> str:
        await single_sign_on.sign_in(transaction, caller, membership.member_id, session_id, has_choices=has_choices)
        return target

    await _end_previous(request)
    response = await apply_change(request, caller, create)
    sessions.cookie.write(response, session_id)
    return response


async def _end_previous(request: web.Request) -> None:
    sessions = request.app[SESSIONS]
    session_id = sessions.cookie.read(request)
    try:
        previous = await find_session(request)
    except (Unauthorized, RateLimitExceeded):
        return
    if session_id is not None:
        await end_session(request.app[RESOURCES].pool, previous.caller, session_id)
        sessions.cache.pop(session_id, None)


async def _postponed(request: web.Request) -> Identity:
    """Return the person who has signed in at the provider. Raises Unauthorized, and RateLimitExceeded."""
    sign_in_id = request.app[SIGN_IN_COOKIE].read(request)
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


def _next(request: web.Request) -> str:
    return local_target(request, request.query.get("next", ""))
