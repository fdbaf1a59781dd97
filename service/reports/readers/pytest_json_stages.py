"""The stages of a test in pytest-json-report: setup, call, and teardown, with their failures and outputs."""

import ast
import re
from collections.abc import Iterator, Mapping
from typing import Any, Final

from service.contracts.run_events import Failure, ResultIn
from service.domain.properties import PropertyCollector
from service.domain.results import MAX_DURATION_MS
from service.reports.bounded_text import BoundedText
from service.reports.json_values import object_of, objects_of, text_of, written_text
from service.reports.metadata import UnreadableDurations
from service.reports.times import valid_milliseconds

_MAX_S: Final = MAX_DURATION_MS / 1000
_STAGES: Final = ("setup", "call", "teardown")
# pytest-xdist writes the worker above each text.
_WORKER: Final = re.compile(r"\[gw\d+\] [^\n]*\n*")
_SKIPPED: Final = re.compile(r"\(.*, \d+, (['\"])Skipped: .*\1\)", re.DOTALL)
_MAX_SKIPPED: Final = 20_000  # characters of the text of a skip
_CLASS: Final = re.compile(r"[\w.]+")
_TYPE_OF: Final = {"skipped": "pytest.skip", "xfailed": "pytest.xfail"}


def stages_of(test: Mapping[str, Any]) -> dict[str, Mapping[str, Any]]:
    """Return the stages that the test has executed, in their order."""
    return {name: stage for name in _STAGES if (stage := object_of(test, name))}


def duration_of(stages: Mapping[str, Mapping[str, Any]], unreadable: UnreadableDurations) -> float | None:
    """Return the sum of the durations in milliseconds. The report contains seconds."""
    total: float | None = None
    for stage in stages.values():
        written = stage.get("duration")
        if isinstance(written, float) and 0 <= written <= _MAX_S:
            total = (total or 0) + written
        elif valid_milliseconds(written) is not None:
            total = (total or 0) + float(written or 0)
        elif written is not None:
            unreadable.add(written)
    return None if total is None else valid_milliseconds(min(total * 1000, MAX_DURATION_MS))


def failure_of(stage: Mapping[str, Any], outcome: object) -> Failure | None:
    """Return the failure of a stage, or the reason of its skip. None if it passed."""
    if stage.get("outcome") == "passed":
        return None
    text = _without_worker(text_of(stage, "longrepr") or "")
    if reason := _skip_reason(text):
        return {"type": _TYPE_OF["skipped"], "message": reason}
    failure: Failure = {}
    frames = objects_of(stage, "traceback")
    if isinstance(outcome, str) and outcome in _TYPE_OF:
        failure["type"] = _TYPE_OF[outcome]
    elif frames and _CLASS.fullmatch(kind := text_of(frames[-1], "message") or ""):
        failure["type"] = kind
    message = text_of(object_of(stage, "crash"), "message")
    if message:
        failure["message"] = message
    if text and text != message:
        failure["details" if message or "\n" in text else "message"] = text
    return failure or None


def outputs_of(stages: Mapping[str, Mapping[str, Any]]) -> Iterator[tuple[str, BoundedText]]:
    """Yield the captured output of all stages by the name of its artifact."""
    for name in ("stdout", "stderr"):
        if text := "".join(text_of(stage, name) or "" for stage in stages.values()):
            yield f"{name}.txt", BoundedText(text)
    lines = [_log_line(record) for stage in stages.values() for record in objects_of(stage, "log")]
    if lines:
        yield "log.txt", BoundedText("\n".join(lines))


def add_properties(result: ResultIn, test: Mapping[str, Any]) -> int:
    """Add the user properties and the metadata of a test, and return the number of those that exceed the limits."""
    properties = PropertyCollector()
    pairs = [*objects_of(test, "user_properties"), object_of(test, "metadata")]
    values = [(name, value) for pair in pairs for name, value in pair.items() if value is not None]
    dropped = sum(not properties.add(name, written_text(value)) for name, value in values)
    if properties.pairs:
        result["properties"] = properties.pairs
    return dropped


def _without_worker(text: str) -> str:
    """Return the text without the line of pytest-xdist that names the worker and its Python."""
    worker = _WORKER.match(text)
    return text[worker.end() :] if worker else text


def _skip_reason(text: str) -> str | None:
    """Return the reason in a text such as `('/ci/tests/test_cart.py', 38, 'Skipped: waits for SHOP-10')`."""
    if len(text) > _MAX_SKIPPED or not _SKIPPED.fullmatch(text):
        return None
    try:
        reason = ast.literal_eval(text)[2]
    except (ValueError, SyntaxError, MemoryError, RecursionError, IndexError, TypeError):
        return None
    return reason.removeprefix("Skipped: ") if isinstance(reason, str) else None


def _log_line(record: Mapping[str, Any]) -> str:
    """Return a line in the default form of pytest: `WARNING  shop:cart.py:27 sold out`."""
    level, name, file = (text_of(record, key) or "" for key in ("levelname", "name", "filename"))
    return f"{level:<8} {name}:{file}:{record.get('lineno')} {text_of(record, 'msg') or ''}"
