"""Sign in at the provider of OpenID Connect, and choose one of several memberships."""

import time
from typing import Final

from aiohttp import web

from service.api.http.errors import report_error
from service.api.resources import RESOURCES
from service.console.authentication import redirect
from service.console.changes import apply_change
from service.console.forms import check_form, get_form
from service.console.pages import page_url, render
from service.console.sessions import SESSIONS, find_session
from service.console.sign_in_cookies import SIGN_IN_COOKIE
from service.console.sign_in_pages import local_target, render_form, sign_in_page
from service.domain.errors import InvalidRequest, NotFound, RateLimitExceeded, Unauthorized, Unavailable
from service.domain.members import Identity, Membership
from service.domain.sessions import is_session_id, new_session_id
from service.domain.sign_ins import (
    OidcClient,
    SignInAttempt,
    StatedIdentity,
    check_state,
    new_attempt,
    read_attempt,
    write_attempt,
)
from service.usecases.administration import single_sign_on as usecase
from service.usecases.administration.mutate import Transaction
from service.usecases.administration.sessions import end_session

_REJECTIONS: Final = (InvalidRequest, Unauthorized, Unavailable, RateLimitExceeded)


async def start(request: web.Request) -> web.Response:
    """Redirect the browser to the provider, also that of a person who wants to select another membership."""
    client, attempt = _client(request), new_attempt(local_target(request, request.query.get("next", "")), time.time())
    issuers, as_other = request.app[RESOURCES].issuers, "other" in request.query
    try:
        _count(request)
        url = await usecase.find_authorization_url(issuers, client, attempt, as_other=as_other)
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
    choices = await usecase.find_choices(request.app[RESOURCES].pool, identity)
    return render_form(request, "memberships.html", {"choices": choices, "next": _next(request)})


async def choose(request: web.Request) -> web.Response:
    """Sign in with the selected membership."""
    await check_form(request)
    form, resources = get_form(request), request.app[RESOURCES]
    target = local_target(request, form.get("next", ""))
    try:
        identity = await _postponed(request)
        choices = await usecase.find_choices(resources.pool, identity)
        selected = _select(choices, form.get("member_id", ""))
        response = await _open_session(request, selected, identity, target, has_choices=len(choices) > 1)
    except (InvalidRequest, Unauthorized, RateLimitExceeded) as error:
        return sign_in_page(request, target, provider_error=report_error(request, error))
    await usecase.end_postponed(resources.pool, request.app[SIGN_IN_COOKIE].read(request))
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
        stated = await usecase.identify(request.app[RESOURCES].issuers, client, attempt, [*request.query.items()])
        return await _continue(request, stated, target)
    except _REJECTIONS as error:
        return sign_in_page(request, target, provider_error=report_error(request, error))


async def _continue(request: web.Request, stated: StatedIdentity, target: str) -> web.Response:
    """Open a session with the only membership, or let the person choose."""
    pool, identity = request.app[RESOURCES].pool, stated.identity
    choices = await usecase.find_choices(pool, identity)
    if not choices:
        return render(request, "no_membership.html", {"stated": stated, "next": target}, 403)
    if len(choices) == 1:
        return await _open_session(request, choices[0], identity, target, has_choices=False)
    sign_in_id = new_session_id()
    await usecase.postpone(pool, identity, sign_in_id)
    response = redirect(page_url(request.app, "choose_membership", {"next": target}))
    request.app[SIGN_IN_COOKIE].write(response, sign_in_id)
    return response


async def _open_session(
    request: web.Request, membership: Membership, identity: Identity, target: str, *, has_choices: bool
) -> web.Response:
    """Create a session with a new ID, end the previous one of the browser, and continue to the target."""
    sessions, session_id = request.app[SESSIONS], new_session_id()
    caller = await usecase.recognize(request.app[RESOURCES].pool, membership, identity)

    async def create(transaction: Transaction) -> str:
        await usecase.sign_in(transaction, caller, membership.member_id, session_id, has_choices=has_choices)
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
        identity = await usecase.find_postponed(request.app[RESOURCES].pool, sign_in_id)
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
