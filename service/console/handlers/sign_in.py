"""Sign in with an API key, and sign out."""

from aiohttp import web

from service.api.http.authentication import authenticate_key, get_caller
from service.api.http.errors import report_error
from service.api.resources import RESOURCES
from service.console.authentication import SIGN_IN_PATH, get_session, redirect
from service.console.changes import apply_change
from service.console.forms import check_form, get_form
from service.console.pages import render
from service.console.sessions import SESSIONS, find_session
from service.console.sign_in_pages import local_target, sign_in_page
from service.domain.errors import RateLimitExceeded, Unauthorized
from service.domain.keys import ParsedKey, parse_key
from service.domain.sessions import new_session_id
from service.usecases.administration import sessions as usecase
from service.usecases.administration.mutate import Transaction
from service.usecases.administration.single_sign_on import find_sign_out_url


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
        await usecase.sign_out(transaction, caller, session_id)
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
