"""Validation of single results, so that an invalid result doesn't affect the others."""

from collections.abc import Callable
from typing import Any, Final

from pydantic import TypeAdapter, ValidationError

from service.contracts.run_events import ResultIn
from service.contracts.validation import describe_error, field_path, validation_errors
from service.domain import texts
from service.domain.reports import MAX_PROBLEMS
from service.usecases.ingest.parse_events import ParsedEvent
from service.usecases.ingest.validate_events import has_failing_status

RESULT: Final = TypeAdapter(ResultIn)
# The method of the adapter itself would add a fifth to the CPU time of a result.
validate_result: Final[Callable[[Any], ResultIn]] = RESULT.validator.validate_python
_UNLISTED: Final = "result: is invalid"  # only the first problems are listed in a receipt


def reject_invalid(event: ParsedEvent, index: int, result: Any, error: ValidationError) -> None:
    """Add a problem for an invalid result."""
    reason = describe_first_error(error) if len(event.problems) < MAX_PROBLEMS else _UNLISTED
    event.reject(index, result_name(result), reason, failing=has_failing_status(result))


def describe_first_error(error: ValidationError) -> str:
    """Return the first error of a result for a receipt."""
    first = validation_errors(error)[0]
    return f"{field_path(first['loc']) or 'result'}: {describe_error(first)}"


def result_name(result: Any) -> str | None:
    """Return the name of a valid or invalid result for a receipt, or None."""
    name = result.get("name") if isinstance(result, dict) else None
    return name[: texts.MAX_TEXT] if isinstance(name, str) else None
