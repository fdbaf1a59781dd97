"""Forms and errors of OAuth 2.0 (RFC 6749): the body of a token request, and error responses of section 5.2."""

import re
from typing import Final, TypeVar
from urllib.parse import parse_qsl

from aiohttp import web
from multidict import MultiDict
from pydantic import BaseModel

from service.api.http.authentication import ApiHandler
from service.api.http.bodies import read_small_body
from service.api.http.parsing import parse_pairs
from service.api.http.responses import reply
from service.contracts.tokens import TokenError
from service.domain.errors import InvalidRequest
from service.domain.token_exchanges import ExchangeRefused

FORM: Final = "application/x-www-form-urlencoded"

_MAX_BODY_BYTES: Final = 64 * 2**10
_MAX_FIELDS: Final = 100
_NOT_IN_DESCRIPTION: Final = re.compile(r"[^\x20\x21\x23-\x5b\x5d-\x7e]")

AnyForm = TypeVar("AnyForm", bound=BaseModel)


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


async def parse_form(request: web.Request, model: type[AnyForm]) -> AnyForm:
    """Return the validated fields of a form.

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
    known = MultiDict((name, value) for name, value in pairs if value and name in model.model_fields)
    return parse_pairs(known, model, "field")


def _describe(message: str) -> str:
    """Return the message with the characters that the RFC permits."""
    return _NOT_IN_DESCRIPTION.sub("?", message.replace('"', "'"))
