"""Validation of run-completion events without their results, which parse_results.py validates one by one."""

import json
from collections.abc import Sequence
from typing import Any, Final, NamedTuple, TypeVar

import orjson
from pydantic import TypeAdapter, ValidationError

from service.contracts.validation import describe_error, field_path, validation_errors
from service.domain import texts
from service.domain.errors import Reason
from service.domain.statuses import NOT_FAILED, RUN_STATUSES, describe_unknown_status, read_status, states_failure
from service.domain.variants import canonical_variant
from service.ingest.cdevents import run_data
from service.ingest.contract import DATAREF_EVENT, RUN_COMPLETED_EVENT, AttemptNumber, Identifier, ShardNumber, Variant
from service.reports.conversion.attempts import count_rows
from service.reports.conversion.errors import ReportError
from service.reports.model import MAX_PROBLEMS
from service.runs.model import RunPart

RUN_COMPLETED: Final = "run.completed"
MAX_LISTED_ERRORS: Final = 20  # in one message

_SHARD: Final[TypeAdapter[int]] = TypeAdapter(ShardNumber)
_VARIANT: Final[TypeAdapter[dict[str, str]]] = TypeAdapter(Variant)
_NAME: Final[TypeAdapter[str]] = TypeAdapter(Identifier)
_ATTEMPT: Final[TypeAdapter[int]] = TypeAdapter(AttemptNumber)

LARGE_BODY_BYTES: Final = 256 * 1024
_SHORTEST_ROW_BYTES: Final = len("0,")  # an invalid result, attempt, or artifact
_NUL: Final = b"\\u0000"

T = TypeVar("T")
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


class ValidEvent(NamedTuple):
    """A validated event without its results, and its results, which aren't validated."""

    event: Any
    results: Sequence[Any]


def validate(body: bytes, problems: list[Problem], max_rows: int) -> ValidEvent:
    """Return the validated event. Adds a problem if text is replaced. Raises EventRejection or DatarefFound."""
    parsed, replaced = _parse(body)
    event = _convert_cdevent(parsed)
    data = event.get("data") if isinstance(event, dict) else None
    if isinstance(event, dict) and data is None and "dataref" in event:
        _validate_dataref(event)
    if replaced:
        problems.append({"index": None, "name": None, "reason": "NUL or lone surrogates replaced by U+FFFD"})
    if isinstance(data, dict) and isinstance(data.get("run"), dict):
        data = {**data, "run": read_run_status(data["run"], problems)}
        event = {**event, "data": data}
    results = data.get("results") if isinstance(data, dict) else None
    if not isinstance(data, dict) or not isinstance(results, list):
        return ValidEvent(_validate_fields(event), [])
    if len(body) > max_rows * _SHORTEST_ROW_BYTES:
        _check_rows(event, results, max_rows)
    return ValidEvent(_validate_fields({**event, "data": {**data, "results": []}}), results)


def _parse(body: bytes) -> tuple[Any, bool]:
    """Return the parsed JSON with storable text, and whether text was replaced: later, messages quote the text."""
    try:
        event = orjson.loads(body)  # rejects lone surrogates
    except orjson.JSONDecodeError as error:
        message = str(error)
    else:
        return texts.clean_json(event) if _NUL in body else (event, False)
    try:
        return texts.clean_json(json.loads(body))  # accepts lone surrogates and NaN, which are then handled per result
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


def _check_rows(event: Any, results: Sequence[Any], max_rows: int) -> None:
    """Raise EventRejection if the event has too many results, listed attempts, and artifacts together."""
    rows = count_rows(results)
    if rows > max_rows:
        message = f"data.results: must have at most {max_rows} results, attempts, and artifacts, has {rows}"
        raise EventRejection("too_large", message, event)


def _validate_fields(event: Any) -> Any:
    """Return the validated event. Raises EventRejection with the first errors."""
    try:
        return RUN_COMPLETED_EVENT.validate_python(event)
    except ValidationError as error:
        listed = validation_errors(error)[:MAX_LISTED_ERRORS]
        messages = [f"{field_path(item['loc']) or 'event'}: {describe_error(item)}" for item in listed]
        raise EventRejection("invalid", "; ".join(messages), event) from None


def read_run_status(run: dict[str, Any], problems: list[Problem]) -> dict[str, Any]:
    """Return an unvalidated run with a known status. An unknown one is an error. Adds a problem for it."""
    word = run.get("status")
    if word is None or word in RUN_STATUSES:
        return run
    status = read_status(word)
    if status not in RUN_STATUSES:
        reason = f"run.status: {describe_unknown_status(word)}; stored as error"
        problems.append({"index": None, "name": "run.status", "reason": reason})
        status = "error"
    return {**run, "status": status}


def has_failing_status(result: Any) -> bool:
    """Return whether an unvalidated result states a failing status. An unknown status counts: it is stored as error."""
    return isinstance(result, dict) and states_failure(result.get("status"))


def input_can_have_failed(result: Any) -> bool:
    """Return whether a result that isn't stored can be a failure.

    It can, unless both it and its last attempt, if it lists any, passed or were skipped.
    """
    if not isinstance(result, dict) or read_status(result.get("status")) not in NOT_FAILED:
        return True
    attempts = result.get("attempts")
    return isinstance(attempts, list) and bool(attempts) and input_can_have_failed(attempts[-1])


def parse_identity(event: Any) -> dict[str, Any]:
    """Return the parts of the identity of an event. A missing or malformed value is None, 0, or empty."""
    data = event.get("data") if isinstance(event, dict) else None
    run = data.get("run") if isinstance(data, dict) else None
    return {
        "organization": _text(data, "organization"),
        "source": _text(event, "source", 400),
        "event_id": _text(event, "id"),
        "run_id": _text(run, "run_id"),
        "project_id": _text(run, "project_id"),
        "part": read_part(run, data),
        "pipeline": read_pipeline(run),
    }


def read_pipeline(run: Any) -> str | None:
    """Return the pipeline of a valid or invalid run, or None if it is missing or malformed."""
    return _valid(_NAME, run, "pipeline")


def read_part(run: Any, data: Any) -> RunPart:
    """Return the part of a valid or invalid run, whose variant is in `data`. It lacks missing or malformed values."""
    return RunPart(
        _valid(_NAME, run, "part") or "",
        canonical_variant(_valid(_VARIANT, data, "variant")),
        _valid(_SHARD, run, "shard") or 0,
        _valid(_ATTEMPT, run, "attempt") or 0,
    )


def _valid(adapter: TypeAdapter[T], source: Any, name: str) -> T | None:
    value = source.get(name) if isinstance(source, dict) else None
    try:
        return None if value is None else adapter.validate_python(value)
    except ValidationError:
        return None


def _text(source: Any, name: str, limit: int = 200) -> str | None:
    value = source.get(name) if isinstance(source, dict) else None
    return value if isinstance(value, str) and 0 < len(value) <= limit else None
