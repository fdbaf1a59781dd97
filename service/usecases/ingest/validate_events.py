"""From the bytes of an event to a valid one: at once where nothing is wrong, else saving what is right."""

import json
from typing import Any, Final

import orjson
from pydantic import ValidationError

from service.contracts.run_events import DATAREF_EVENT, RUN_COMPLETED_EVENT
from service.contracts.validation import describe_error, field_path, validation_errors
from service.domain import texts
from service.domain.errors import Reason
from service.reports.cdevents import run_data
from service.reports.errors import ReportError

RUN_COMPLETED: Final = "run.completed"
LISTED: Final = 20  # how many faults of an event a message names

Problem = dict[str, Any]  # {"index": int | None, "name": str | None, "reason": str}, as receipts show it


class EventRejection(Exception):
    """An event that never can be stored, with what could be parsed of it."""

    def __init__(self, reason: Reason, message: str, event: Any = None) -> None:
        super().__init__(message)
        self.reason = reason
        self.event = event


class DatarefFound(Exception):
    """A valid event whose data lies in storage."""

    def __init__(self, event: Any) -> None:
        super().__init__("the data lies elsewhere")
        self.event = event


def validate(body: bytes, problems: list[Problem]) -> tuple[Any, list[int] | None]:
    """The validated event and, where some results are invalid, the indexes of the others. Raises both above."""
    if b"\\u0000" not in body:
        try:
            return RUN_COMPLETED_EVENT.validate_json(body), None
        except ValidationError:
            pass  # the slow way below says what is wrong, and saves what is right
    event = _native(_parse(body))
    if isinstance(event, dict) and event.get("data") is None and "dataref" in event:
        _refer(event)
    cleaned = texts.replace_unstorable(event)
    if cleaned != event:
        problems.append({"index": None, "name": None, "reason": "NUL or lone surrogates replaced by U+FFFD"})
    return _validate_leniently(cleaned, problems)


def _parse(body: bytes) -> Any:
    try:
        return orjson.loads(body)
    except orjson.JSONDecodeError as error:
        problem = str(error)
    try:
        return json.loads(body)  # takes lone surrogates and NaN, which are dealt with one by one
    except (ValueError, RecursionError):
        raise EventRejection("not_json", f"not JSON: {problem}") from None


def _refer(event: Any) -> None:
    try:
        raise DatarefFound(DATAREF_EVENT.validate_python(texts.replace_unstorable(event)))
    except ValidationError as error:
        said = [f"{field_path(fault['loc'])}: {describe_error(fault)}" for fault in validation_errors(error)[:LISTED]]
        raise EventRejection("invalid", "; ".join(said), event) from None


def _native(event: Any) -> Any:
    """The event, with a CDEvent of a finished test run in the words of our own."""
    data = event.get("data") if isinstance(event, dict) else None
    if not isinstance(data, dict) or "run" in data or not {"context", "subject"} <= data.keys():
        return event
    try:
        return {**event, "type": RUN_COMPLETED, "data": run_data(data)}
    except ReportError as error:
        raise EventRejection("invalid", f"data: {error}", event) from None


def _validate_leniently(event: Any, problems: list[Problem]) -> tuple[Any, list[int] | None]:
    faults = _faults(event)
    if not faults:
        return RUN_COMPLETED_EVENT.validate_python(event), None
    outside = [fault for fault in faults if fault[0] is None]
    if outside:
        raise EventRejection("invalid", "; ".join(text for _, text in outside[:LISTED]), event)
    results = event["data"]["results"]
    reasons: dict[int, str] = {}
    for index, text in faults:
        reasons.setdefault(index or 0, text)
    for index, reason in reasons.items():
        problems.append({"index": index, "name": name_of(results[index]), "reason": reason})
    indexes = [index for index in range(len(results)) if index not in reasons]
    event["data"]["results"] = [results[index] for index in indexes]
    return RUN_COMPLETED_EVENT.validate_python(event), indexes


def _faults(event: Any) -> list[tuple[int | None, str]]:
    """What is wrong, each with the index of the result it is wrong in, or None where it is outside of any."""
    try:
        RUN_COMPLETED_EVENT.validate_python(event)
    except ValidationError as error:
        return [_fault(fault["loc"], describe_error(fault)) for fault in validation_errors(error)]
    return []


def _fault(loc: tuple[int | str, ...], message: str) -> tuple[int | None, str]:
    match loc:
        case ("data", "results", int() as index, *rest):
            return index, f"{field_path(rest) or 'result'}: {message}"
        case _:
            return None, f"{field_path(loc) or 'event'}: {message}"


def name_of(result: Any) -> str | None:
    """How a receipt names a result, valid or not."""
    name = result.get("name") if isinstance(result, dict) else None
    return name[: texts.MAX_TEXT] if isinstance(name, str) else None


def identity_of(event: Any) -> dict[str, str | None]:
    """As much of the identity as is there and has the right form."""
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
