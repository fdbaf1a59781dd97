"""HTTP handlers of trusted publishers, and the exchange of ID tokens for keys.

A caller who is bound to a project manages only publishers of that project.
"""

import re
from functools import partial
from typing import Final
from urllib.parse import parse_qsl

from aiohttp import web
from multidict import MultiDict

from service.contracts.queries import PageQuery
from service.domain.errors import InvalidRequest
from service.http.authentication import ApiHandler, get_caller
from service.http.bodies import read_small_body
from service.http.mutations import mutate_object
from service.http.parsing import parse_body, parse_pairs, parse_query
from service.http.process import RESOURCES
from service.http.responses import reply, reply_page
from service.http.routes import Operation, Route, page_of
from service.identity.publishers import operations
from service.identity.publishers.contract import (
    IssuedToken,
    PublisherIn,
    PublisherPatch,
    TokenError,
    TokenExchangeForm,
    TokenExchangeQuery,
    TokenExchanges,
    TrustedPublisher,
)
from service.identity.publishers.exchange_token import TokenRequest, is_authentic
from service.identity.publishers.exchange_token import exchange_token as exchange
from service.identity.publishers.token_exchanges import GRANT_TYPE, KEY_LIFETIME, ExchangeRefused

FORM: Final = "application/x-www-form-urlencoded"
_MAX_BODY_BYTES: Final = 64 * 2**10
_MAX_FIELDS: Final = 100
_NOT_IN_DESCRIPTION: Final = re.compile(r"[^\x20\x21\x23-\x5b\x5d-\x7e]")


async def list_publishers(request: web.Request) -> web.Response:
    """List publishers, newest first."""
    query, caller = parse_query(request, PageQuery), get_caller(request)
    return reply_page(await operations.list_publishers(request.app[RESOURCES].pool, caller, query))


async def get_publisher(request: web.Request) -> web.Response:
    """Return one publisher."""
    pool, caller = request.app[RESOURCES].pool, get_caller(request)
    return reply(await operations.find_publisher(pool, caller, request.match_info["id"]))


async def create_publisher(request: web.Request) -> web.Response:
    """Create a publisher."""
    body, caller = await parse_body(request, PublisherIn), get_caller(request)
    new = operations.read_request(caller, body, request.app[RESOURCES].settings.issuer_addresses)
    return await mutate_object(
        request, operations.create_publisher, caller, new, status=201, collection="/v1/publishers"
    )


async def update_publisher(request: web.Request) -> web.Response:
    """Change some fields of a publisher. Absent fields keep their values."""
    body, caller = await parse_body(request, PublisherPatch), get_caller(request)
    ref, changes = operations.publisher_ref(caller, request.match_info["id"]), body.changes()
    return await mutate_object(request, operations.change_publisher, ref, changes)


async def delete_publisher(request: web.Request) -> web.Response:
    """Delete a publisher, and revoke its keys."""
    ref = operations.publisher_ref(get_caller(request), request.match_info["id"])
    return await mutate_object(request, operations.delete_publisher, ref)


async def list_token_exchanges(request: web.Request) -> web.Response:
    """List the newest exchanges of ID tokens, newest first."""
    query, caller = parse_query(request, TokenExchangeQuery), get_caller(request)
    exchanges = await operations.list_exchanges(request.app[RESOURCES].pool, caller, query.publisher_id)
    return reply({"data": exchanges})


async def exchange_token(request: web.Request) -> web.Response:
    """Return a key for the ID token of a CI job. Only failed exchanges count against the address of the client."""
    resources = request.app[RESOURCES]
    issuers, audience = resources.issuers, resources.settings.audience
    form = await _read_form(request)
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


async def _read_form(request: web.Request) -> TokenExchangeForm:
    """Return the validated fields of the form.

    A field without a value counts as omitted, and unknown fields are ignored (RFC 6749, section 3.2). Raises TooLarge.
    """
    if request.content_type != FORM:
        raise InvalidRequest(f"Content-Type: must be {FORM}", "Content-Type")
    body = await read_small_body(request, _MAX_BODY_BYTES)
    try:
        pairs = parse_qsl(body.decode("ascii"), keep_blank_values=True, errors="strict", max_num_fields=_MAX_FIELDS)
    except ValueError:
        raise InvalidRequest(
            f"the request body must be a form with at most {_MAX_FIELDS} fields of percent-encoded UTF-8"
        ) from None
    known = MultiDict((name, value) for name, value in pairs if value and name in TokenExchangeForm.model_fields)
    return parse_pairs(known, TokenExchangeForm, "field")


def oauth_errors(handler: ApiHandler) -> ApiHandler:
    """Wrap the handler so that invalid and refused requests get an error of OAuth."""

    async def guarded(request: web.Request) -> web.StreamResponse:
        try:
            return await handler(request)
        except ExchangeRefused as refused:
            body: TokenError = {"error": refused.error, "error_description": _describe(refused.description)}
            return reply(body | ({"projects": list(refused.projects)} if refused.projects else {}), 400)
        except InvalidRequest as error:
            return reply({"error": "invalid_request", "error_description": _describe(str(error))}, 400)

    return guarded


def _describe(message: str) -> str:
    """Return the message with the characters that the RFC permits."""
    return _NOT_IN_DESCRIPTION.sub("?", message.replace('"', "'"))


ROUTES: Final = (
    Route("GET", "/publishers", list_publishers, "keys:manage", Operation(
        "list_publishers", "List trusted publishers, newest first", page_of(TrustedPublisher), PageQuery,
        description="Without deleted publishers.",
    )),
    Route("GET", "/publishers/{id}", get_publisher, "keys:manage", Operation(
        "get_publisher", "Get a trusted publisher", {200: TrustedPublisher}, errors=("not_found",),
    )),
    Route("POST", "/publishers", create_publisher, "keys:manage", Operation(
        "create_publisher", "Let CI jobs exchange their ID tokens for keys", {201: TrustedPublisher}, body=PublisherIn,
        description="A job needs no stored secret: its ID token becomes a key of one project for 15 minutes.",
        errors=("conflict",),
    )),
    Route("PATCH", "/publishers/{id}", update_publisher, "keys:manage", Operation(
        "update_publisher", "Update the given fields of a trusted publisher", {200: TrustedPublisher},
        body=PublisherPatch, errors=("not_found",),
        description="Unless only the name changes, the service rejects the keys of its jobs within five seconds.",
    )),
    Route("DELETE", "/publishers/{id}", delete_publisher, "keys:manage", Operation(
        "delete_publisher", "Delete a trusted publisher", {204: None}, errors=("not_found",),
        description="The service rejects the keys of its jobs within five seconds.",
    )),
    Route("GET", "/token-exchanges", list_token_exchanges, "keys:manage", Operation(
        "list_token_exchanges", "List the newest exchanges of ID tokens", {200: TokenExchanges}, TokenExchangeQuery,
        description="The newest 100 of the organization, accepted and refused ones. Only authentic tokens of a"
        " repository that a publisher names are listed.",
    )),
)  # fmt: skip
PUBLIC_ROUTES: Final = (
    Route("POST", "/v1/token", exchange_token, None, Operation(
        "exchange_token", "Exchange the ID token of a CI job for an API key", {200: IssuedToken, 400: TokenError},
        form=TokenExchangeForm, repeatable=False, errors=("too_large", "rate_limit_exceeded", "unavailable"),
        description="The exchange of tokens of RFC 8693, without authentication of the client. The ID token must be one"
        " of a trusted publisher. The key has the project and the role of the publisher, and expires after 15 minutes."
        " A token can be exchanged 20 times. Errors have the form of RFC 6749, section 5.2. The operation ignores"
        " `Idempotency-Key`: each request creates a key. Failed exchanges are limited by address.",
    )),
)  # fmt: skip
