"""Exchange of the ID tokens of CI jobs for keys over HTTP."""

from functools import partial

from aiohttp import web

from service.api.http.oauth import parse_form
from service.api.http.responses import reply
from service.api.resources import RESOURCES
from service.contracts.tokens import IssuedToken, TokenExchangeForm
from service.domain.token_exchanges import GRANT_TYPE, KEY_LIFETIME, ExchangeRefused
from service.usecases.administration.exchange_token import TokenRequest, is_authentic
from service.usecases.administration.exchange_token import exchange_token as exchange


async def exchange_token(request: web.Request) -> web.Response:
    """Return a key for the ID token of a CI job. Only failed exchanges count against the address of the client."""
    resources = request.app[RESOURCES]
    issuers, audience = resources.issuers, resources.settings.audience
    form = await parse_form(request, TokenExchangeForm)
    if form.grant_type != GRANT_TYPE:
        raise ExchangeRefused("unsupported_grant_type", f"grant_type: must be {GRANT_TYPE}")
    token = form.subject_token
    authenticate = partial(is_authentic, resources.publisher_issuers, issuers, audience, token)
    async with resources.failed_exchanges.attempt(request.remote, token, authenticate):
        issued = await exchange(resources.pool, issuers, audience, TokenRequest(token, form.scope, form.organization))
    response: IssuedToken = {
        "access_token": issued.key,
        "issued_token_type": "urn:ietf:params:oauth:token-type:access_token",
        "token_type": "Bearer",
        "expires_in": int(KEY_LIFETIME.total_seconds()),
        "scope": f"project:{issued.project_id}",
    }
    return reply(response)
