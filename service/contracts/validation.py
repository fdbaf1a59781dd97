"""What is wrong with what was sent, said so that it can be put right: one sentence for each type of fault."""

from collections.abc import Sequence
from typing import Any, Final

from pydantic import ValidationError

NO_NUL: Final = r"^[^\x00]*$"
PRINTABLE: Final = r"^[^\p{C}]+$"
SHA256: Final = r"^[0-9a-fA-F]{64}$"
ID: Final = r"^[0-9a-z_]+$"
SLUG: Final = r"^[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?$"

_NUMBER: Final = "must be a number"
WHOLE: Final = "must be a whole number"
_YES_OR_NO: Final = "must be true or false"
_OBJECT: Final = "must be an object"
TIME: Final = "must be a time with its zone (RFC 3339), for example 2026-05-20T12:00:00Z"

# Each goes on behind the name of what is wrong; what stands in braces comes with the fault.
_SAID: Final = {
    "missing": "must be given",
    "extra_forbidden": "is not known here",
    "value_error": "{error}",
    "literal_error": "must be {expected}",
    "string_type": "must be text",
    "string_too_short": "must have at least {min_length} characters",
    "string_too_long": "must have at most {max_length} characters",
    "string_unicode": "must be text in UTF-8",
    "too_short": "must have at least {min_length} items",
    "too_long": "must have at most {max_length} items",
    "list_type": "must be a list",
    "model_type": _OBJECT,
    "model_attributes_type": _OBJECT,
    "dict_type": _OBJECT,
    "bool_type": _YES_OR_NO,
    "bool_parsing": _YES_OR_NO,
    "int_type": WHOLE,
    "int_parsing": WHOLE,
    "int_parsing_size": WHOLE,
    "int_from_float": WHOLE,
    "float_type": _NUMBER,
    "float_parsing": _NUMBER,
    "finite_number": _NUMBER,
    "greater_than_equal": "must be {ge} or more",
    "less_than_equal": "must be {le} or less",
    "datetime_type": TIME,
    "datetime_parsing": TIME,
    "datetime_from_date_parsing": TIME,
    "datetime_object_invalid": TIME,
    "timezone_aware": TIME,
}
_OF_PATTERN: Final = {
    NO_NUL: "must not hold NUL characters",
    PRINTABLE: "must hold printable characters only",
    SHA256: "must be 64 hex digits",
    ID: "must hold lower-case letters, digits and _ only",
    SLUG: "must be 1 to 63 lower-case letters, digits and dashes, without a dash first or last",
}
_AT_LEAST_ONE: Final = {"string_too_short", "too_short"}


def validation_errors(error: ValidationError) -> list[Any]:
    """Each with `type`, `loc` and what `describe_error` needs."""
    return error.errors(include_url=False, include_input=False)


def describe_error(fault: Any) -> str:
    """What the value must be; in the words of pydantic where we have none of our own."""
    context = fault.get("ctx", {})
    if fault["type"] in _AT_LEAST_ONE and context["min_length"] == 1:
        return "must not be empty"
    said = _OF_PATTERN.get(context.get("pattern"), _SAID.get(fault["type"]))
    return said.format(**context) if said else str(fault["msg"])


def field_path(loc: Sequence[int | str]) -> str:
    """Where the fault is, as a path with dots."""
    return ".".join(map(str, loc))
