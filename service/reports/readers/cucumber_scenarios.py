"""The result of a scenario in Cucumber JSON."""

import re
from collections.abc import Mapping, Sequence
from typing import Any, Final

from service.contracts.run_events import Failure, ResultIn
from service.domain.results import MAX_DURATION_MS
from service.domain.statuses import FAILING, RESULT_STATUSES, SEVERITY, ResultStatus, states_failure
from service.reports.failures import join_failures
from service.reports.json_values import line_of, text_of
from service.reports.metadata import ReportMetadata, UnreadableDurations
from service.reports.paths import UNUSUAL_STARTS, portable_name
from service.reports.readers.cucumber_output import write_output
from service.reports.readers.cucumber_steps import ScenarioStep, has_no_steps, is_duration, read_word, steps_of
from service.reports.times import utc_timestamp, valid_milliseconds

_NS_PER_MS: Final = 1_000_000.0
_S_PER_MS: Final = 0.001  # Behave, whose scenarios have a location instead of a line
_NUMBERS: Final = frozenset({int, float})
_MAX_MESSAGE: Final = 5_000  # characters
_NO_STEPS: Final = "The scenario has no steps."
_NO_LIST: Final = "steps: must be a list, which is empty if the scenario has no steps"
_WITHOUT_ERROR: Final = ("undefined", "ambiguous", "pending")  # words of steps that raised no error
_BEHAVE_LOCATION: Final = re.compile(r"(.+):(\d{1,9})", re.DOTALL | re.ASCII)
# The first line of a stack of JavaScript, Java, or Ruby, and the error in a traceback of pytest
_FRAME: Final = re.compile(r"^(?:[ \t]+at .*|\S+:\d+:in .*)$", re.MULTILINE)
_PYTEST_ERROR: Final = re.compile(r"^E {3,}(\S.*)$", re.MULTILINE)
# `AssertionError [ERR_ASSERTION]: ` of JavaScript, `java.lang.AssertionError: `, and `ASSERT FAILED: ` of Behave
_TYPE: Final = re.compile(r"([A-Za-z_$][\w$.]*(?:Error|Exception|Failure)|Error)(?: \[\w+\])?:\s+(?=\S)")
_ASSERTION: Final = re.compile(r"assert(?:ion)? failed: (?=\S)", re.IGNORECASE)
# The end of a paragraph before compared values. The second one is the legend of Node.js.
_DIFFERENCE: Final = re.compile(r"\n +\+ expected - actual\n")  # which Cucumber for JavaScript adds to the message
_ANNOUNCES: Final = re.compile(r"(?::|\n\+ actual - expected\b.*)\Z")


def result_of(
    element: Mapping[str, Any], background: Mapping[str, Any], metadata: ReportMetadata
) -> tuple[ResultIn, int]:
    """Return the result of a scenario without its suite, and the number of its embedded files that are invalid."""
    steps = steps_of(element, background)
    result: ResultIn = {"name": _name_of(element), "status": _status_of(element, steps)}
    if line := line_of(element) or location_of(element)[1]:
        result["line"] = line
    unit = _S_PER_MS if "location" in element and "line" not in element else _NS_PER_MS
    duration_ms = _sum_of_durations(steps, unit, metadata.unreadable)
    if duration_ms is not None:
        result["duration_ms"] = duration_ms
    if "start_timestamp" in element and (started_at := utc_timestamp(text_of(element, "start_timestamp"))):
        result["started_at"] = started_at
        metadata.times.add(started_at, duration_ms)
    invalid_files = 0
    if result["status"] != "passed":
        if failure := _failure_of(result["status"], element, steps):
            result["failure"] = failure
        invalid_files = write_output(result, steps, unit, metadata.output)
    elif [step for step in steps if "embeddings" in step.source]:
        invalid_files = write_output(result, steps, unit, metadata.output)
    _count(result, metadata)
    return result, invalid_files


def _name_of(element: Mapping[str, Any]) -> str:
    name = text_of(element, "name")
    if not name:
        return text_of(element, "keyword") or "Scenario"
    return portable_name(name) if name[0] in UNUSUAL_STARTS or name[1:2] == ":" else name


def location_of(value: Mapping[str, Any]) -> tuple[str | None, int | None]:
    """Return the file and the line of a location of Behave, such as `features/cart.feature:3`."""
    found = _BEHAVE_LOCATION.fullmatch(text_of(value, "location") or "")
    return (found[1], int(found[2]) or None) if found else (None, None)


def _status_of(element: Mapping[str, Any], steps: Sequence[ScenarioStep]) -> ResultStatus:
    """Return the worst status of the steps, the hooks, and the scenario itself, which only Behave states.

    A scenario passed only if a step passed or Behave states it, and was skipped without a status only if its list of
    steps is empty. Steps that weren't reached are an error, unless another status explains them.
    """
    words = [step.result.get("status") for step in steps]
    if "status" not in element and words.count("passed") == len(words) and any(not step.is_hook for step in steps):
        return "passed"
    stated = [read_word(element["status"])] if element.get("status") is not None else []
    statuses = [*stated, *(step.status for step in steps if step.has_result)]
    if failing := [status for status in statuses if status in FAILING]:
        return max(failing, key=SEVERITY.__getitem__)
    if unknown := [status for status in statuses if status not in RESULT_STATUSES]:
        return unknown[0]
    if not stated and has_no_steps(element, steps):
        return "skipped"
    worst: ResultStatus = max(statuses, key=SEVERITY.__getitem__, default="passed")
    has_steps = any(not step.is_hook for step in steps)
    is_complete = stated or worst != "passed" or (has_steps and all(step.has_result for step in steps))
    return worst if is_complete else "error"


def _failure_of(status: ResultStatus, element: Mapping[str, Any], steps: Sequence[ScenarioStep]) -> Failure | None:
    """Return the failure of the steps and hooks with a failing status, or the reason why the scenario was skipped."""
    if status == "skipped":
        reasons = [_failure_of_step(step) for step in steps if step.status == "skipped" and step.error]
        return reasons[0] if reasons else {"message": _NO_STEPS} if has_no_steps(element, steps) else None
    if status not in FAILING:
        return None
    failing = [step for step in steps if step.has_result and step.status in FAILING]
    if failing:
        return join_failures([_failure_of_step(step) for step in failing])
    stated = element.get("status")
    if stated is not None and read_word(stated) in FAILING:
        return {"message": f"The scenario has the status {stated}. The report contains no reason."}
    missing = next((step.label for step in steps if not step.has_result), None)
    return {"message": _NO_LIST if missing is None else f"The report contains no result of a step: {missing}"}


def _failure_of_step(step: ScenarioStep) -> Failure:
    """Return the start of the error as the message, and the step with its argument and the error as details."""
    details = "\n".join(filter(None, (step.label, step.argument, step.error)))
    if step.word in _WITHOUT_ERROR:
        return {"message": f"{step.word} step: {step.label}", "details": details}
    if not step.error:
        return {"message": f"{step.word}: {step.label}", "details": details}
    message = _message_of(step.error)
    failure: Failure = {"message": message, "details": details}
    if found := _TYPE.match(message):
        failure["type"], failure["message"] = found[1], message[found.end() :]
    return failure


def _message_of(error: str) -> str:
    """Return the first paragraph without the stack, and the next one if the end of the first one announces it."""
    if found := _PYTEST_ERROR.search(error):
        return found[1][:_MAX_MESSAGE]
    frame = _FRAME.search(error)
    text = (error[: frame.start()] if frame else "").strip() or error.strip()
    paragraphs = _ASSERTION.sub("", _DIFFERENCE.split(text, 1)[0], count=1).split("\n\n", 2)
    return "\n".join(paragraphs[: 2 if _ANNOUNCES.search(paragraphs[0]) else 1])[:_MAX_MESSAGE]


def _sum_of_durations(steps: Sequence[ScenarioStep], unit: float, unreadable: UnreadableDurations) -> float | None:
    """Return the sum of the durations of steps and hooks in milliseconds. None if the report states none."""
    written = [duration for step in steps if (duration := step.result.get("duration")) is not None]
    if not written:
        return None
    if _NUMBERS.issuperset(map(type, written)) and min(written) >= 0 and max(written) <= MAX_DURATION_MS * unit:
        return valid_milliseconds(sum(written) / unit)
    known = [duration for duration in written if is_duration(duration, unit)]
    for duration in written:
        if not is_duration(duration, unit):
            unreadable.add(duration)
    return valid_milliseconds(sum(known) / unit) if known else None


def _count(result: ResultIn, metadata: ReportMetadata) -> None:
    status = result["status"]
    metadata.counted["tests"] += 1
    metadata.counted["failures"] += status == "failed"
    metadata.counted["errors"] += status == "error"
    metadata.counted["skipped"] += status == "skipped"
    metadata.contains_failures |= states_failure(status)
