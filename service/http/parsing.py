"""Parsing of query parameters and JSON bodies. Every error is an InvalidRequest that names the parameter or field."""

import json
import math
from collections.abc import Iterator, Sequence
from functools import cache
from typing import Any, Final, TypeVar, get_args, get_origin

import orjson
from aiohttp import web
from multidict import MultiMapping
from pydantic import BaseModel, ValidationError

from service.contracts.validation import describe_error, field_path, validation_errors
from service.domain.errors import InvalidRequest, UnsupportedMediaType, did_you_mean
from service.domain.texts import replace_unstorable
from service.http.authentication import ApiHandler
from service.http.bodies import read_body

AnyModel = TypeVar("AnyModel", bound=BaseModel)

_UNKNOWN_FIELD: Final = "extra_forbidden"
_OTHER_PAGE_PARAMETERS: Final = ("cursor", "next_cursor", "offset", "page", "page_token")
_MAX_NAME_LENGTH: Final = 200
_JSON: Final = "application/json"
_MEDIA_TYPES: Final = (_JSON, "application/x-www-form-urlencoded")  # the second is what `curl -d` states for any body
_QUERY_PARAMETER: Final = "query parameter"


def parse_query(request: web.Request, model: type[AnyModel]) -> AnyModel:
    """Return the validated query parameters, with defaults. Raises InvalidRequest, also for an unknown parameter."""
    return parse_pairs(request.query, model, _QUERY_PARAMETER)


def parse_pairs(pairs: MultiMapping[str], model: type[AnyModel], noun: str) -> AnyModel:
    """Return the validated query parameters or form fields, of which several can have the same name."""
    repeatable = _repeatable_fields(model)
    values: dict[str, Any] = {}
    for name in pairs:
        given = pairs.getall(name)
        values[name] = given if name in repeatable else _single_value(name, given)
    return _validate(model, values, noun)


def reject_query(handler: ApiHandler) -> ApiHandler:
    """Wrap the handler of a route without query parameters so that it rejects all of them."""

    async def checked(request: web.Request) -> web.StreamResponse:
        for name in request.query:
            raise InvalidRequest(f"query parameter {_truncate(name)!r} is not supported", _truncate(name))
        return await handler(request)

    return checked


async def parse_body(request: web.Request, model: type[AnyModel]) -> AnyModel:
    """Return the validated JSON body. Raises UnsupportedMediaType and InvalidRequest."""
    values = _parse_json(await _uncompressed_body(request))
    if not isinstance(values, dict):
        raise InvalidRequest("the request body must be a JSON object")
    return _validate(model, values, "field")


async def _uncompressed_body(request: web.Request) -> bytes:
    given = request.headers.get("Content-Type", "").strip()
    media_type = request.content_type if given else _JSON  # application/octet-stream for a header without a media type
    if media_type not in _MEDIA_TYPES and not media_type.endswith("+json"):
        raise UnsupportedMediaType(f"Content-Type {given[:100]!r} is not supported. Send {_JSON}.")
    encoding = request.headers.get("Content-Encoding", "identity").strip().lower()
    if encoding not in ("identity", ""):
        raise UnsupportedMediaType(f"Content-Encoding {encoding[:40]!r} is not supported. Send uncompressed JSON.")
    return await read_body(request)


def _parse_json(body: bytes) -> Any:
    try:
        return orjson.loads(body.decode())
    except UnicodeDecodeError:
        raise InvalidRequest("the request body must be UTF-8") from None
    except orjson.JSONDecodeError as error:
        if path := _find_invalid_number(body):
            raise InvalidRequest(f"{path}: must be a finite number", path) from None
        raise InvalidRequest(f"the request body must be JSON: {error}") from None


def _find_invalid_number(body: bytes) -> str:
    """Return the path of the first number that JSON can't represent: NaN, Infinity, or one such as 1e400."""
    try:
        return next(_paths_of_invalid_numbers(json.loads(body)), "")  # accepts these numbers, unlike orjson
    except (ValueError, RecursionError):
        return ""


def _paths_of_invalid_numbers(value: Any, loc: tuple[int | str, ...] = ()) -> Iterator[str]:
    """Yield the paths of the numbers that aren't finite."""
    match value:
        case float() if not math.isfinite(value):
            yield _truncate(replace_unstorable(field_path(loc)))
        case dict():
            for name, item in value.items():
                yield from _paths_of_invalid_numbers(item, (*loc, name))
        case list():
            for index, item in enumerate(value):
                yield from _paths_of_invalid_numbers(item, (*loc, index))


def _validate(model: type[AnyModel], values: dict[str, Any], noun: str) -> AnyModel:
    try:
        return model.model_validate(values)
    except ValidationError as error:
        found = validation_errors(error)
    # A misspelled name first: it explains why a required field is missing.
    first = next((item for item in found if item["type"] == _UNKNOWN_FIELD), found[0])
    param, description = _param(first["loc"]), describe_error(first)
    if first["type"] == _UNKNOWN_FIELD:
        raise InvalidRequest(f"{noun} {param!r} is not supported{_alternative(model, first['loc'])}", param)
    raise InvalidRequest(f"{param}: {description}" if param else description, param or None)


def _alternative(model: type[BaseModel], loc: tuple[int | str, ...]) -> str:
    """Return a hint with the supported name that an unknown one probably means, or an empty text."""
    *parents, name = map(str, loc)
    for parent in parents:
        field = model.model_fields.get(parent)
        types = (field.annotation, *get_args(field.annotation)) if field else ()
        nested = [type_ for type_ in types if isinstance(type_, type) and issubclass(type_, BaseModel)]
        if not nested:
            return ""
        model = nested[0]
    names = [field.alias or supported for supported, field in model.model_fields.items()]
    if name in _OTHER_PAGE_PARAMETERS and "starting_after" in names:
        return ". Use starting_after for the next page."
    return did_you_mean(_truncate(name), names)


def _single_value(name: str, given: Sequence[str]) -> str:
    if len(given) > 1:
        raise InvalidRequest(f"{_truncate(name)}: must occur once, not {len(given)} times", _truncate(name))
    return given[0]


@cache
def _repeatable_fields(model: type[BaseModel]) -> frozenset[str]:
    return frozenset(name for name, field in model.model_fields.items() if get_origin(field.annotation) is list)


def _param(loc: tuple[int | str, ...]) -> str:
    """Return the name of the wrong value, without the index of a repeated query parameter."""
    named = loc[:-1] if len(loc) == 2 and isinstance(loc[1], int) else loc
    return _truncate(field_path(named))


def _truncate(name: str) -> str:
    return name[:_MAX_NAME_LENGTH]
