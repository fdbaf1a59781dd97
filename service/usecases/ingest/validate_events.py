"""Validation of run-completion events: fast for valid events, lenient for events with invalid results."""

import json
from collections.abc import Sequence
from typing import Any, Final

import orjson
from pydantic import ValidationError

from service.contracts.run_events import DATAREF_EVENT, RUN_COMPLETED_EVENT
from service.contracts.validation import describe_error, field_path, validation_errors
from service.domain import texts
from service.domain.errors import Reason
from service.domain.reports import MAX_PROBLEMS
from service.reports.cdevents import run_data
from service.reports.errors import ReportError

RUN_COMPLETED: Final = "run.completed"
MAX_LISTED_ERRORS: Final = 20  # in one message

Problem = dict[str, Any]  # {"index": int | None, "name": str | None, "reason": str}, as in the receipt
_MAX_PROBLEMS_TEXT: Final = 100_000  # characters per receipt, because a page contains up to 1,000 receipts


def limit_problems(problems: Sequence[Problem], unlisted: int = 0) -> list[Problem]:
    """Return the first problems within the limits of a receipt, and the number of the others as a last problem.

    `unlisted` is the number of problems that the caller has already dropped.
    """
    listed: list[Problem] = []
    size = 0
    for problem in problems[:MAX_PROBLEMS]:
        size += len(problem["name"] or "") + len(problem["reason"])
        if size > _MAX_PROBLEMS_TEXT:
            break
        listed.append(problem)
    if unlisted := unlisted + len(problems) - len(listed):
        listed.append({"index": None, "name": None, "reason": f"{unlisted} further problems"})
    return listed


class EventRejection(Exception):
    """The event can never be stored. `event` is the parsed JSON, or None."""

    def __init__(self, reason: Reason, message: str, event: Any = None) -> None:
        super().__init__(message)
        self.reason = reason
        self.event = event


class DatarefFound(Exception):
    """The event is valid and its data is in storage."""

    def __init__(self, event: Any) -> None:
        super().__init__("the data is in storage")
        self.event = event


def validate(body: bytes, problems: list[Problem]) -> tuple[Any, list[int] | None]:
    """Return the validated event, and the original indexes of its valid results if some results are invalid.

    Adds the invalid results to `problems`. Raises EventRejection or DatarefFound.
    """
    if b"\\u0000" not in body:
        try:
            return RUN_COMPLETED_EVENT.validate_json(body), None
        except ValidationError:
            pass  # the slow path below describes the errors and keeps the valid results
    parsed, replaced = texts.clean_json(_parse(body))  # before anything reads the event, because messages quote it
    event = _convert_cdevent(parsed)
    if isinstance(event, dict) and event.get("data") is None and "dataref" in event:
        _validate_dataref(event)
    if replaced:
        problems.append({"index": None, "name": None, "reason": "NUL or lone surrogates replaced by U+FFFD"})
    return _validate_leniently(event, problems)


def _parse(body: bytes) -> Any:
    try:
        return orjson.loads(body)
    except orjson.JSONDecodeError as error:
        message = str(error)
    try:
        return json.loads(body)  # accepts lone surrogates and NaN, which are then handled per result
    except (ValueError, RecursionError):
        raise EventRejection("not_json", f"event: must be JSON: {message}") from None


def _validate_dataref(event: Any) -> None:
    try:
        raise DatarefFound(DATAREF_EVENT.validate_python(event))
    except ValidationError as error:
        listed = validation_errors(error)[:MAX_LISTED_ERRORS]
        messages = [f"{field_path(item['loc'])}: {describe_error(item)}" for item in listed]
        raise EventRejection("invalid", "; ".join(messages), event) from None


def _convert_cdevent(event: Any) -> Any:
    """Convert a CDEvent of a finished test run to a run-completion event. Return other values unchanged."""
    data = event.get("data") if isinstance(event, dict) else None
    if not isinstance(data, dict) or "run" in data or not {"context", "subject"} <= data.keys():
        return event
    try:
        return {**event, "type": RUN_COMPLETED, "data": run_data(data)}
    except ReportError as error:
        raise EventRejection("invalid", f"data: {error}", event) from None


def _validate_leniently(event: Any, problems: list[Problem]) -> tuple[Any, list[int] | None]:
    errors = _errors(event)
    if not errors:
        return RUN_COMPLETED_EVENT.validate_python(event), None
    outside_results = [message for index, message in errors if index is None]
    if outside_results:
        raise EventRejection("invalid", "; ".join(outside_results[:MAX_LISTED_ERRORS]), event)
    results = event["data"]["results"]
    reasons: dict[int, str] = {}
    for index, message in errors:
        reasons.setdefault(index or 0, message)
    for index, reason in reasons.items():
        problems.append({"index": index, "name": result_name(results[index]), "reason": reason})
    indexes = [index for index in range(len(results)) if index not in reasons]
    event["data"]["results"] = [results[index] for index in indexes]
    return RUN_COMPLETED_EVENT.validate_python(event), indexes


def _errors(event: Any) -> list[tuple[int | None, str]]:
    """Return the validation errors, each with the index of its result, or None if it isn't in a result."""
    try:
        RUN_COMPLETED_EVENT.validate_python(event)
    except ValidationError as error:
        return [_locate(item["loc"], describe_error(item)) for item in validation_errors(error)]
    return []


def _locate(loc: tuple[int | str, ...], message: str) -> tuple[int | None, str]:
    match loc:
        case ("data", "results", int() as index, *rest):
            return index, f"{field_path(rest) or 'result'}: {message}"
        case _:
            return None, f"{field_path(loc) or 'event'}: {message}"


def result_name(result: Any) -> str | None:
    """Return the name of a valid or invalid result for a receipt, or None."""
    name = result.get("name") if isinstance(result, dict) else None
    return name[: texts.MAX_TEXT] if isinstance(name, str) else None


def parse_identity(event: Any) -> dict[str, str | None]:
    """Return the parts of the identity of an event; a missing or malformed part is None."""
    data = event.get("data") if isinstance(event, dict) else None
    run = data.get("run") if isinstance(data, dict) else None
    return {
        "organization": _text(data, "organization"),
        "source": _text(event, "source", 400),
        "event_id": _text(event, "id"),
        "run_id": _text(run, "run_id"),
    }


def _text(source: Any, name: str, limit: int = 200) -> str | None:
    value = source.get(name) if isinstance(source, dict) else None
    return value if isinstance(value, str) and 0 < len(value) <= limit else None
