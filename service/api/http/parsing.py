"""From a request to what it asks for; whatever is wrong is an InvalidRequest that names the parameter."""

from collections.abc import Sequence
from typing import Any, Final, TypeVar, get_origin

import orjson
from aiohttp import web
from pydantic import BaseModel, ValidationError

from service.api.http.authentication import ApiHandler
from service.api.http.bodies import read_body
from service.contracts.validation import describe_error, field_path, validation_errors
from service.domain.errors import InvalidRequest, UnsupportedMediaType

AnyModel = TypeVar("AnyModel", bound=BaseModel)

_FORBIDDEN_EXTRA: Final = "extra_forbidden"
_PAGES_ELSEWHERE: Final = ("cursor", "next_cursor", "offset", "page", "page_token")


def parse_query(request: web.Request, model: type[AnyModel]) -> AnyModel:
    """The query parameters as the model describes them."""
    values: dict[str, Any] = {}
    for name in request.query:
        given = request.query.getall(name)
        values[name] = given if _repeats(model, name) else _only(name, given)
    return _validated(model, values, "query parameter")


def without_query(handler: ApiHandler) -> ApiHandler:
    """The handler, for an address that takes no query parameter."""

    async def checked(request: web.Request) -> web.StreamResponse:
        for name in request.query:
            raise InvalidRequest(f"there is no query parameter {_shown(name)!r} here", _shown(name))
        return await handler(request)

    return checked


async def parse_body(request: web.Request, model: type[AnyModel]) -> AnyModel:
    """The JSON body as the model describes it."""
    values = _json(await _plain_body(request))
    if not isinstance(values, dict):
        raise InvalidRequest("the body must be a JSON object")
    return _validated(model, values, "field")


async def _plain_body(request: web.Request) -> bytes:
    coding = request.headers.get("Content-Encoding", "identity").strip().lower()
    if coding not in ("identity", ""):
        raise UnsupportedMediaType(f"Content-Encoding {coding[:40]!r} is not taken here: send the JSON as it is")
    return await read_body(request)


def _json(body: bytes) -> Any:
    try:
        return orjson.loads(body.decode())
    except UnicodeDecodeError:
        raise InvalidRequest("the body is not in UTF-8") from None
    except orjson.JSONDecodeError as error:
        raise InvalidRequest(f"the body is not JSON: {error}") from None


def _validated(model: type[AnyModel], values: dict[str, Any], noun: str) -> AnyModel:
    try:
        return model.model_validate(values)
    except ValidationError as error:
        fault = validation_errors(error)[0]
    param, said = _path(fault["loc"]), describe_error(fault)
    if fault["type"] == _FORBIDDEN_EXTRA:
        raise InvalidRequest(f"there is no {noun} {param!r}{_instead(model, param)}", param)
    raise InvalidRequest(f"{param}: {said}" if param else said, param or None)


def _instead(model: type[BaseModel], param: str) -> str:
    """What to use for a name by which other services turn pages."""
    meant = param in _PAGES_ELSEWHERE and "starting_after" in model.model_fields
    return ": pages go on with starting_after" if meant else ""


def _only(name: str, given: Sequence[str]) -> str:
    if len(given) > 1:
        raise InvalidRequest(f"{_shown(name)}: may be given once, not {len(given)} times", _shown(name))
    return given[0]


def _repeats(model: type[BaseModel], name: str) -> bool:
    field = model.model_fields.get(name)
    return field is not None and get_origin(field.annotation) is list


def _path(loc: tuple[int | str, ...]) -> str:
    """The name of what is wrong; an index in a repeated parameter says nothing, deeper ones do."""
    named = loc[:-1] if len(loc) == 2 and isinstance(loc[1], int) else loc
    return _shown(field_path(named))


def _shown(name: str) -> str:
    """A name that came from outside, short enough to repeat."""
    return name[:200]
