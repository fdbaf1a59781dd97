"""Validation of single results, so that an invalid result doesn't affect the others."""

from collections.abc import Callable
from typing import Any, Final

from pydantic import TypeAdapter, ValidationError

from service.contracts.validation import describe_error, field_path, validation_errors
from service.domain import texts
from service.domain.statuses import describe_unknown_status, read_status
from service.ingest.contract import ResultIn
from service.ingest.parse_events import ParsedEvent
from service.ingest.validate_events import input_can_have_failed
from service.reports.model import MAX_PROBLEMS

RESULT: Final = TypeAdapter(ResultIn)
# The method of the adapter itself would add a fifth to the CPU time of a result.
validate_result: Final[Callable[[Any], ResultIn]] = RESULT.validator.validate_python
_UNLISTED: Final = "result: is invalid"  # only the first problems are listed in a receipt


def repair_or_reject(
    event: ParsedEvent, index: int, result: Any, error: ValidationError, validate: Callable[[Any], ResultIn]
) -> ResultIn | None:
    """Return an invalid result with its statuses as the service names them. None after rejecting any other result.

    Results with the exact names are valid, so that only the others are examined here. A result whose status is unknown
    has the status error, so that it never disappears.
    """
    if not isinstance(result, dict):
        reject_invalid(event, index, result, error)
        return None
    repaired, reason = read_statuses(result)
    try:
        valid = validate(repaired)
    except ValidationError as other:
        reject_invalid(event, index, result, other)
        return None
    if reason:
        event.add_unknown_status(index, result_name(result), reason)
    return valid


def read_statuses(result: dict[str, Any]) -> tuple[dict[str, Any], str | None]:
    """Return the result with known statuses, and the first description of an unknown one.

    The last attempt is the result itself: if the status of one of them is unknown, both have the status error.
    """
    attempts = result.get("attempts")
    if not isinstance(attempts, list) or not attempts or not isinstance(attempts[-1], dict):
        repaired, of_result = _read_status(result)
        return repaired, of_result and f"status: {of_result}"
    read = [_read_status(attempt) if isinstance(attempt, dict) else (attempt, None) for attempt in attempts]
    repaired, of_result = _read_status(result)
    of_last = of_result or read[-1][1]
    if of_last:
        repaired, read[-1] = _to_error(result, of_last), (_to_error(attempts[-1], of_last), of_last)
    first = next((f"attempts.{number}.status: {reason}" for number, (_, reason) in enumerate(read) if reason), None)
    return {**repaired, "attempts": [attempt for attempt, _ in read]}, f"status: {of_result}" if of_result else first


def _read_status(part: dict[str, Any]) -> tuple[dict[str, Any], str | None]:
    """Return a result or an attempt with a known status, and the description of an unknown one."""
    word = part.get("status")
    status = read_status(word)
    if status is None:
        reason = describe_unknown_status(word)
        return _to_error(part, reason), reason
    return {**part, "status": status}, None


def _to_error(part: dict[str, Any], reason: str) -> dict[str, Any]:
    """Return a result or an attempt as an error whose message starts with the reason."""
    stated = part.get("failure")
    failure = stated if isinstance(stated, dict) else {}
    message = failure.get("message")
    text = f"{reason}\n{message}" if message and isinstance(message, str) else reason
    return {**part, "status": "error", "failure": {**failure, "message": text}}


def reject_invalid(event: ParsedEvent, index: int, result: Any, error: ValidationError) -> None:
    """Add a problem for an invalid result."""
    reason = describe_first_error(error) if len(event.problems) < MAX_PROBLEMS else _UNLISTED
    event.reject(index, result_name(result), reason, failing=input_can_have_failed(result))


def describe_first_error(error: ValidationError) -> str:
    """Return the first error of a result for a receipt."""
    first = validation_errors(error)[0]
    return f"{field_path(first['loc']) or 'result'}: {describe_error(first)}"


def result_name(result: Any) -> str | None:
    """Return the name of a valid or invalid result for a receipt, or None."""
    name = result.get("name") if isinstance(result, dict) else None
    return name[: texts.MAX_TEXT] if isinstance(name, str) else None
