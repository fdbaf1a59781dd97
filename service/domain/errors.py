"""The errors of the service, by what the caller can do about them. The API edge maps them to answers."""

from typing import Literal

# What is wrong with an event, a report or one of its results, as receipts and dead letters name it.
Reason = Literal[
    "not_json",
    "invalid",
    "too_large",
    "unknown_organization",
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


class ServiceError(Exception):
    """Something the caller has to know; the message is written for people."""


class InvalidRequest(ServiceError):
    """The request can't be understood; `param` names the part of it that is wrong."""

    def __init__(self, message: str, param: str | None = None) -> None:
        super().__init__(message)
        self.param = param


class Unauthorized(ServiceError):
    """There is no valid key in the request."""


class Forbidden(ServiceError):
    """The key may not do this."""


class NotFound(ServiceError):
    """There is no such thing, or none that this organization may see."""


class Conflict(ServiceError):
    """The thing is not in a state that allows this."""


class Gone(ServiceError):
    """The thing was there once and is not any more."""


class TooLarge(ServiceError):
    """The request's body is larger than what is taken here."""


class UnsupportedMediaType(ServiceError):
    """The body is of a type that is not taken here."""


class RangeNotSatisfiable(ServiceError):
    """The file, which has `size` bytes, has no such ones."""

    def __init__(self, size: int) -> None:
        super().__init__(f"the file has {size} bytes")
        self.size = size


class IdempotencyMismatch(ServiceError):
    """The Idempotency-Key was used before with something else."""


class RateLimitExceeded(ServiceError):
    """Too many requests; the next one is taken after `retry_after_s` seconds."""

    def __init__(self, message: str, retry_after_s: int) -> None:
        super().__init__(message)
        self.retry_after_s = retry_after_s


class Unavailable(ServiceError):
    """Something that the service needs does not answer; worth another try after `retry_after_s` seconds."""

    def __init__(self, message: str, retry_after_s: int = 5) -> None:
        super().__init__(message)
        self.retry_after_s = retry_after_s


class Rejected(ServiceError):
    """An event can't be stored and never will be; `reason` is one word for machines."""

    def __init__(self, reason: Reason, message: str) -> None:
        super().__init__(message)
        self.reason: Reason = reason
