"""The result of a scenario in Cucumber JSON."""

import re
from base64 import b64decode
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any, Final, NamedTuple

from service.domain.statuses import FAILING, RESULT_STATUSES, SEVERITY, ResultStatus, states_failure
from service.domain.timestamps import MAX_DURATION_MS
from service.failures.model import strip_escapes
from service.ingest.contract import Failure, ResultIn
from service.reports.conversion.attachments import MAX_ATTACHMENTS
from service.reports.conversion.attempts import MAX_COLLECTED, join_failures, status_of_word
from service.reports.conversion.metadata import ReportMetadata, UnreadableDurations
from service.reports.conversion.names import UNUSUAL_STARTS, portable_name
from service.reports.conversion.output import BoundedText, OutputPart, OutputWriter, set_output
from service.reports.conversion.times import utc_timestamp, valid_milliseconds
from service.reports.streams.json_values import line_of, object_of, objects_of, text_of, texts_of

# The words of Cucumber and Behave that other formats don't have, or that have another meaning there.
_STATUS_OF: Final[dict[str, ResultStatus]] = {
    "undefined": "failed",
    "ambiguous": "failed",
    "pending": "failed",
    "hook_error": "error",
    "cleanup_error": "error",
    "untested": "skipped",
    "untested_pending": "skipped",
    "untested_undefined": "skipped",
    "pending_warn": "skipped",
}
_HOOKS: Final = frozenset({"before", "around", "after"})
_NUMBERS: Final = frozenset({int, float})
_MAX_LABEL: Final = 1_000
# The types of texts that steps log. A link is a text too.
_LOG_TYPES: Final = frozenset({"text/plain", "text/x.cucumber.log+plain", "text/uri-list"})
_NAMES: Final = {"image": "screenshot", "video": "video"}
_NS_PER_MS: Final = 1_000_000.0
_S_PER_MS: Final = 0.001  # Behave, whose scenarios have a location instead of a line
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
    steps = _steps_of(element, background)
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
        invalid_files = _write_output(result, steps, unit, metadata.output)
    elif [step for step in steps if "embeddings" in step.source]:
        invalid_files = _write_output(result, steps, unit, metadata.output)
    metadata.count(result["status"])
    return result, invalid_files


class _ScenarioStep(NamedTuple):
    """A step, or a hook of a kind: before, around, or after. `source` and `result` are its objects in the report."""

    kind: str
    source: Mapping[str, Any]
    result: Mapping[str, Any]

    @property
    def is_hook(self) -> bool:
        """Whether this is a hook. Cucumber for JavaScript lists hooks as steps without a name."""
        if self.kind or text_of(self.source, "name"):
            return bool(self.kind)
        return self.source.get("hidden") is True or self.source.get("keyword") in ("Before", "After")

    @property
    def label(self) -> str:
        """The text of the step, or the kind of the hook and its location."""
        if self.kind:
            location = portable_name(text_of(object_of(self.source, "match"), "location") or "")
            return f"{self.kind.capitalize()} hook {location}".rstrip()[:_MAX_LABEL]
        keyword = (text_of(self.source, "keyword") or "").strip()
        name = "hook" if self.is_hook else text_of(self.source, "name") or ""
        return f"{keyword} {name}".strip()[:_MAX_LABEL]

    @property
    def has_result(self) -> bool:
        """Whether the report contains a result. It has none for a step that the tool didn't reach."""
        return self.source.get("result") is not None

    @property
    def word(self) -> Any:
        """The status in the report."""
        return self.result.get("status")

    @property
    def status(self) -> ResultStatus:
        """The status, or the unknown word, which ingest stores as an error and the receipt names."""
        return read_word(self.word)

    @property
    def error(self) -> str:
        """The text of the error. Behave writes a list of lines."""
        text = text_of(self.result, "error_message") or "\n".join(texts_of(self.result, "error_message"))
        return strip_escapes(text[:MAX_COLLECTED])

    @property
    def argument(self) -> str:
        """The data table and the doc string of the step, in the notation of Gherkin."""
        return "\n".join(_arguments(self.source))


def _steps_of(element: Mapping[str, Any], background: Mapping[str, Any]) -> list[_ScenarioStep]:
    """Return the steps and hooks of a scenario and of the background in front of it."""
    if not background and _HOOKS.isdisjoint(element):
        return _steps(element)
    parts = (background, element)
    return [
        *(hook for kind in ("before", "around") for part in parts for hook in _hooks(part, kind)),
        *(step for part in parts for step in _steps(part)),
        *(hook for part in parts for hook in _hooks(part, "after")),
    ]


def _steps(element: Mapping[str, Any]) -> list[_ScenarioStep]:
    steps: list[_ScenarioStep] = []
    for source in _sources(element, "steps"):
        result = source.get("result")
        step = _ScenarioStep("", source, result if isinstance(result, dict) else {})
        if "before" in source or "after" in source:
            steps += (*_hooks(source, "before"), step, *_hooks(source, "after"))
        else:
            steps.append(step)
    return steps


def read_word(word: Any) -> ResultStatus:
    """Return the status of a word of Cucumber or Behave, or the word itself if it is unknown."""
    known = _STATUS_OF.get(word.lower()) if isinstance(word, str) else None
    return known or status_of_word(word)


def _arguments(step: Mapping[str, Any]) -> Iterator[str]:
    """Yield data tables and doc strings in the forms of Cucumber for JavaScript, Java, and Ruby, and of Behave."""
    for argument in (step, *objects_of(step, "arguments")):
        for row in objects_of(argument, "rows"):
            yield _row(row.get("cells"))
        doc_string = object_of(argument, "doc_string")
        text = text_of(doc_string, "value") or text_of(argument, "content")
        text = text or text_of(argument, "text") or "\n".join(texts_of(argument, "text"))
        if text:
            yield f'"""\n{text}\n"""'
    table = object_of(step, "table")
    if table:
        yield _row(table.get("headings"))
        rows = table.get("rows")
        yield from map(_row, rows if isinstance(rows, list) else ())


def _row(cells: Any) -> str:
    return f"| {' | '.join(map(str, cells))} |" if isinstance(cells, list) else ""


def _sources(part: Mapping[str, Any], key: str) -> list[Mapping[str, Any]]:
    """Return the steps or hooks of this key. What can't be read is a step without a known status, or with an error."""
    listed = part.get(key)
    if listed is None:
        return []
    if not isinstance(listed, list):
        return [{"result": {"status": "error", "error_message": f"{key}: must be a list"}}]
    return [item if isinstance(item, dict) else {"result": item} for item in listed]


def _hooks(part: Mapping[str, Any], kind: str) -> list[_ScenarioStep]:
    return [_ScenarioStep(kind, hook, object_of(hook, "result")) for hook in _sources(part, kind)]


def _name_of(element: Mapping[str, Any]) -> str:
    name = text_of(element, "name")
    if not name:
        return text_of(element, "keyword") or "Scenario"
    return portable_name(name) if name[0] in UNUSUAL_STARTS or name[1:2] == ":" else name


def _status_of(element: Mapping[str, Any], steps: Sequence[_ScenarioStep]) -> ResultStatus:
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
    if not stated and _has_no_steps(element, steps):
        return "skipped"
    worst: ResultStatus = max(statuses, key=SEVERITY.__getitem__, default="passed")
    has_steps = any(not step.is_hook for step in steps)
    is_complete = stated or worst != "passed" or (has_steps and all(step.has_result for step in steps))
    return worst if is_complete else "error"


def _has_no_steps(element: Mapping[str, Any], steps: Iterable[_ScenarioStep]) -> bool:
    """Return whether a scenario is empty: its steps are a list that contains at most hooks, which were executed."""
    return isinstance(element.get("steps"), list) and all(step.is_hook and step.has_result for step in steps)


def location_of(value: Mapping[str, Any]) -> tuple[str | None, int | None]:
    """Return the file and the line of a location of Behave, such as `features/cart.feature:3`."""
    found = _BEHAVE_LOCATION.fullmatch(text_of(value, "location") or "")
    return (found[1], int(found[2]) or None) if found else (None, None)


def _sum_of_durations(steps: Sequence[_ScenarioStep], unit: float, unreadable: UnreadableDurations) -> float | None:
    """Return the sum of the durations of steps and hooks in milliseconds. None if the report states none."""
    written = [duration for step in steps if (duration := step.result.get("duration")) is not None]
    if not written:
        return None
    if _NUMBERS.issuperset(map(type, written)) and min(written) >= 0 and max(written) <= MAX_DURATION_MS * unit:
        return valid_milliseconds(sum(written) / unit)
    known = [duration for duration in written if _is_duration(duration, unit)]
    for duration in written:
        if not _is_duration(duration, unit):
            unreadable.add(duration)
    return valid_milliseconds(sum(known) / unit) if known else None


def _is_duration(value: Any, unit: float) -> bool:
    """Return whether a value is a duration that can be stored. `unit` is its unit per millisecond."""
    return type(value) in _NUMBERS and 0 <= value <= MAX_DURATION_MS * unit


def _failure_of(status: ResultStatus, element: Mapping[str, Any], steps: Sequence[_ScenarioStep]) -> Failure | None:
    """Return the failure of the steps and hooks with a failing status, or the reason why the scenario was skipped."""
    if status == "skipped":
        reasons = [_failure_of_step(step) for step in steps if step.status == "skipped" and step.error]
        return reasons[0] if reasons else {"message": _NO_STEPS} if _has_no_steps(element, steps) else None
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


def _failure_of_step(step: _ScenarioStep) -> Failure:
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


def _write_output(result: ResultIn, steps: Sequence[_ScenarioStep], unit: float, to: OutputWriter) -> int:
    """Write the files of a scenario and, if it didn't pass, its steps and logs. Return the number of invalid files.

    `unit` is the unit of durations, per millisecond.
    """
    files = _StepFiles(to)
    for step in steps:
        files.add(step)
    parts = files.parts
    if result["status"] != "passed":
        texts = [("steps.txt", BoundedText("\n".join(_step_lines(steps, unit))))]
        texts += [("log.txt", BoundedText("\n".join(files.logs)))] if files.logs else []
        parts = to.add(result["name"], texts) + parts
    set_output(result, parts)
    return files.invalid


class _StepFiles:
    """Collects the logs and the embedded files of the steps of one scenario, and writes the files."""

    def __init__(self, to: OutputWriter) -> None:
        self.logs: list[str] = []
        self.parts: list[OutputPart] = []
        self.invalid = 0
        self._to = to

    def add(self, step: _ScenarioStep) -> None:
        """Add the output and the embedded files of a step."""
        self.logs += _outputs(step.source)
        for embedding in objects_of(step.source, "embeddings"):
            written = text_of(embedding, "data") or ""
            name, type_, data = text_of(embedding, "name"), _type_of(embedding), _decode(written)
            if not name and type_.partition(";")[0] in _LOG_TYPES:
                self.logs.append(written if data is None else data.decode(errors="replace"))
            elif data is None:
                self.invalid += 1
            else:
                self._embed(name or _NAMES.get(type_.partition("/")[0], "attachment"), type_, data)

    def _embed(self, name: str, type_: str, data: bytes) -> None:
        if len(self.parts) < MAX_ATTACHMENTS:
            self.parts += self._to.embed(name, type_ or None, data)
        elif data:
            self._to.embedded.dropped += 1


def _outputs(source: Mapping[str, Any]) -> list[str]:
    text = text_of(source, "output")
    return [text] if text else texts_of(source, "output")


def _type_of(embedding: Mapping[str, Any]) -> str:
    return (text_of(embedding, "mime_type") or text_of(object_of(embedding, "media"), "type") or "").strip().lower()


def _decode(data: str) -> bytes | None:
    """Return the decoded data, which can be a data URL. None if it isn't valid Base64."""
    encoded = data.partition(",")[2] if data.startswith("data:") else data
    try:
        return b64decode("".join(encoded.split()), validate=True)
    except ValueError:
        return None


def _step_lines(steps: Sequence[_ScenarioStep], unit: float) -> Iterator[str]:
    """Yield lines such as `passed: Given an empty cart (12 ms)`. Hooks that passed are omitted."""
    for step in steps:
        if not (step.is_hook and step.status == "passed"):
            word = step.word if step.has_result else "not executed"
            duration: Any = step.result.get("duration")
            yield f"{word}: {step.label}{f' ({duration / unit:.0f} ms)' if _is_duration(duration, unit) else ''}"


def was_executed(background: Mapping[str, Any]) -> bool:
    """Return whether a background has results. That of Behave has none, because its scenarios repeat the steps."""
    return any(step.has_result for step in _steps_of({}, background))


def has_failed(background: Mapping[str, Any]) -> bool:
    """Return whether a step or a hook of a background failed."""
    return any(step.has_result and states_failure(step.status) for step in _steps_of({}, background))
