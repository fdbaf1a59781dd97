"""The exceptions of the service, grouped by the action that the caller can take, and the names in their messages.

The HTTP status and the error code of each exception are in service/http/errors.py.
"""

import re
from collections.abc import Callable, Iterable
from difflib import get_close_matches
from typing import Final, Literal

ErrorCode = Literal[
    "invalid_request",
    "unauthorized",
    "forbidden",
    "not_found",
    "method_not_allowed",
    "conflict",
    "gone",
    "too_large",
    "unsupported_media_type",
    "range_not_satisfiable",
    "idempotency_mismatch",
    "rate_limit_exceeded",
    "internal_error",
    "unavailable",
]

# The reason for rejecting an event, a report, or one result, as stored in receipts and dead letters.
Reason = Literal[
    "not_json",
    "invalid",
    "too_large",
    "unknown_organization",
    "producer_not_allowed",
    "completed_at_out_of_range",
    "run_id_conflict",
    "case_key_clash",
    "event_id_reused",
    "no_valid_result",
    "refused_by_store",
    "malformed_report",
    "unsupported_format",
    "internal_error",
]

# The field at the start of a message, and the one with which it is compared: `filter.to: must not be before from`.
_FIELDS: Final = re.compile(r"^[a-z_]+(?:\.[a-z_0-9]+)*(?=: )|(?<=\bbefore )[a-z_]+$|(?<=\brequires )[a-z_]+$")


class ServiceError(Exception):
    """An error that is reported to the caller, with a human-readable message."""


class InvalidRequest(ServiceError):
    """The request is invalid; `param` names the wrong parameter, field, or header."""

    def __init__(self, message: str, param: str | None = None) -> None:
        super().__init__(message)
        self.param = param


class Unauthorized(ServiceError):
    """The request has no valid API key."""


class Forbidden(ServiceError):
    """The API key doesn't have the permission for this operation."""


class NotFound(ServiceError):
    """The object doesn't exist, or the caller's organization or project can't see it."""


class Conflict(ServiceError):
    """The current state of the object doesn't allow this operation."""


class Gone(ServiceError):
    """The object existed but has been deleted or has expired."""


class TooLarge(ServiceError):
    """The request body exceeds the size limit."""


class UnsupportedMediaType(ServiceError):
    """The request body has an unsupported media type or content encoding."""


class RangeNotSatisfiable(ServiceError):
    """The requested range is outside of the file, which has `size` bytes."""

    def __init__(self, size: int) -> None:
        super().__init__(f"Range: not satisfiable; the file has {size} bytes")
        self.size = size


class IdempotencyMismatch(ServiceError):
    """The Idempotency-Key was already used with a different request."""


class RateLimitExceeded(ServiceError):
    """The rate limit is exceeded; the caller can retry after `retry_after_s` seconds."""

    def __init__(self, message: str, retry_after_s: int) -> None:
        super().__init__(message)
        self.retry_after_s = retry_after_s


class Unavailable(ServiceError):
    """A required dependency doesn't respond; the caller can retry after `retry_after_s` seconds."""

    def __init__(self, message: str, retry_after_s: int = 5) -> None:
        super().__init__(message)
        self.retry_after_s = retry_after_s


class Rejected(ServiceError):
    """An event or report that can never be stored; `reason` is the machine-readable cause."""

    def __init__(self, reason: Reason, message: str) -> None:
        super().__init__(message)
        self.reason: Reason = reason


def name_fields(message: str, find_name: Callable[[str], str | None]) -> str:
    """Return the message with other names of fields of the API, such as labels, if `find_name` returns one."""
    return _FIELDS.sub(lambda field: find_name(field[0]) or field[0], message)


def did_you_mean(name: str, known: Iterable[str]) -> str:
    """Return the end of a message about an unknown name: the known one that it probably means, or an empty text."""
    nearest = get_close_matches(name, known, 1)
    return f". Did you mean {nearest[0]!r}?" if nearest else ""
