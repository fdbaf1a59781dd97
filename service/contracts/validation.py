"""Validation patterns, and the message for each type of validation error."""

from collections.abc import Sequence
from typing import Any, Final

from pydantic import ValidationError

NO_NUL: Final = r"^[^\x00]*$"
PRINTABLE: Final = r"^[^\p{C}]+$"
SHA256: Final = r"^[0-9a-fA-F]{64}$"
COMMIT: Final = r"^[0-9a-f]{40}([0-9a-f]{24})?$"  # SHA-1 or SHA-256
ID: Final = r"^[0-9a-z_]+$"
RECEIPT_ID: Final = r"^rcp_[0-9a-f]{32}$"
SLUG: Final = r"^[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?$"

_NUMBER: Final = "must be a number"
INTEGER: Final = "must be an integer"
_BOOLEAN: Final = "must be true or false"
_OBJECT: Final = "must be an object"
TIME: Final = "must be a time with a time zone (RFC 3339), for example 2026-05-20T12:00:00Z"

# The message for each error type of pydantic. It follows the field name. Braces contain names of the error's context.
_MESSAGES: Final = {
    "missing": "is required",
    "extra_forbidden": "is not supported",
    "value_error": "{error}",
    "literal_error": "must be {expected}",
    "string_type": "must be a string",
    "string_too_short": "must have at least {min_length} characters",
    "string_too_long": "must have at most {max_length} characters",
    "string_unicode": "must be UTF-8 text",
    "too_short": "must have at least {min_length} items",
    "too_long": "must have at most {max_length} items",
    "list_type": "must be a list",
    "model_type": _OBJECT,
    "model_attributes_type": _OBJECT,
    "dict_type": _OBJECT,
    "bool_type": _BOOLEAN,
    "bool_parsing": _BOOLEAN,
    "int_type": INTEGER,
    "int_parsing": INTEGER,
    "int_parsing_size": INTEGER,
    "int_from_float": INTEGER,
    "float_type": _NUMBER,
    "float_parsing": _NUMBER,
    "finite_number": _NUMBER,
    "greater_than_equal": "must be at least {ge}",
    "less_than_equal": "must be at most {le}",
    "datetime_type": TIME,
    "datetime_parsing": TIME,
    "datetime_from_date_parsing": TIME,
    "datetime_object_invalid": TIME,
    "timezone_aware": TIME,
}
_PATTERN_MESSAGES: Final = {
    NO_NUL: "must not contain NUL characters",
    PRINTABLE: "must contain only printable characters",
    SHA256: "must be 64 hex digits",
    COMMIT: "must be the complete hash of a commit: 40 lower-case hexadecimal digits",
    ID: "must contain only lowercase letters, digits, and _",
    RECEIPT_ID: "must be the ID of a receipt: rcp_ and 32 lowercase hexadecimal digits",
    SLUG: "must be 1 to 63 lowercase letters, digits, and hyphens, and must not start or end with a hyphen",
}
_LENGTH_ERRORS: Final = {"string_too_short", "too_short"}


def validation_errors(error: ValidationError) -> list[Any]:
    """Return the errors of pydantic, each with `type`, `loc`, and the context that `describe_error` needs."""
    return error.errors(include_url=False, include_input=False)


def describe_error(error: Any) -> str:
    """Return the message for one error, or the message of pydantic if this module has none."""
    context = error.get("ctx", {})
    if error["type"] in _LENGTH_ERRORS and context["min_length"] == 1:
        return "must not be empty"
    message = _PATTERN_MESSAGES.get(context.get("pattern"), _MESSAGES.get(error["type"]))
    return message.format(**context) if message else str(error["msg"])


def field_path(loc: Sequence[int | str]) -> str:
    """Return the path of the wrong value, with dots between its components."""
    return ".".join(map(str, loc))
