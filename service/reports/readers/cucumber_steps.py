"""The steps and hooks of a scenario in Cucumber JSON, in the order in which they were executed."""

from collections.abc import Iterable, Iterator, Mapping
from typing import Any, Final, NamedTuple, cast

from service.domain.failures import strip_escapes
from service.domain.results import MAX_DURATION_MS
from service.domain.statuses import ResultStatus, read_status, states_failure
from service.reports.failures import MAX_COLLECTED
from service.reports.json_values import object_of, objects_of, text_of, texts_of
from service.reports.paths import portable_name

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


class ScenarioStep(NamedTuple):
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


def read_word(word: Any) -> ResultStatus:
    """Return the status of a word of Cucumber or Behave, or the word itself if it is unknown."""
    known = _STATUS_OF.get(word.lower()) if isinstance(word, str) else None
    return known or read_status(word) or cast("ResultStatus", word)


def is_duration(value: Any, unit: float) -> bool:
    """Return whether a value is a duration that can be stored. `unit` is its unit per millisecond."""
    return type(value) in _NUMBERS and 0 <= value <= MAX_DURATION_MS * unit


def steps_of(element: Mapping[str, Any], background: Mapping[str, Any]) -> list[ScenarioStep]:
    """Return the steps and hooks of a scenario and of the background in front of it."""
    if not background and _HOOKS.isdisjoint(element):
        return _steps(element)
    parts = (background, element)
    return [
        *(hook for kind in ("before", "around") for part in parts for hook in _hooks(part, kind)),
        *(step for part in parts for step in _steps(part)),
        *(hook for part in parts for hook in _hooks(part, "after")),
    ]


def was_executed(background: Mapping[str, Any]) -> bool:
    """Return whether a background has results. That of Behave has none, because its scenarios repeat the steps."""
    return any(step.has_result for step in steps_of({}, background))


def has_failed(background: Mapping[str, Any]) -> bool:
    """Return whether a step or a hook of a background failed."""
    return any(step.has_result and states_failure(step.status) for step in steps_of({}, background))


def has_no_steps(element: Mapping[str, Any], steps: Iterable[ScenarioStep]) -> bool:
    """Return whether a scenario is empty: its steps are a list that contains at most hooks, which were executed."""
    return isinstance(element.get("steps"), list) and all(step.is_hook and step.has_result for step in steps)


def _steps(element: Mapping[str, Any]) -> list[ScenarioStep]:
    steps: list[ScenarioStep] = []
    for source in _sources(element, "steps"):
        result = source.get("result")
        step = ScenarioStep("", source, result if isinstance(result, dict) else {})
        if "before" in source or "after" in source:
            steps += (*_hooks(source, "before"), step, *_hooks(source, "after"))
        else:
            steps.append(step)
    return steps


def _hooks(part: Mapping[str, Any], kind: str) -> list[ScenarioStep]:
    return [ScenarioStep(kind, hook, object_of(hook, "result")) for hook in _sources(part, kind)]


def _sources(part: Mapping[str, Any], key: str) -> list[Mapping[str, Any]]:
    """Return the steps or hooks of this key. What can't be read is a step without a known status, or with an error."""
    listed = part.get(key)
    if listed is None:
        return []
    if not isinstance(listed, list):
        return [{"result": {"status": "error", "error_message": f"{key}: must be a list"}}]
    return [item if isinstance(item, dict) else {"result": item} for item in listed]


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
