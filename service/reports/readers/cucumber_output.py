"""The output, the steps, and the embedded files of a scenario in Cucumber JSON."""

from base64 import b64decode
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Final

from service.contracts.run_events import ResultIn
from service.reports.attachments import MAX_ATTACHMENTS
from service.reports.bounded_text import BoundedText
from service.reports.json_values import object_of, objects_of, text_of, texts_of
from service.reports.output import OutputPart, OutputWriter, set_output
from service.reports.readers.cucumber_steps import ScenarioStep, is_duration

# The types of texts that steps log. A link is a text too.
_LOG_TYPES: Final = frozenset({"text/plain", "text/x.cucumber.log+plain", "text/uri-list"})
_NAMES: Final = {"image": "screenshot", "video": "video"}


class _StepFiles:
    """Collects the logs and the embedded files of the steps of one scenario, and writes the files."""

    def __init__(self, to: OutputWriter) -> None:
        self.logs: list[str] = []
        self.parts: list[OutputPart] = []
        self.invalid = 0
        self._to = to

    def add(self, step: ScenarioStep) -> None:
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


def write_output(result: ResultIn, steps: Sequence[ScenarioStep], unit: float, to: OutputWriter) -> int:
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


def _step_lines(steps: Sequence[ScenarioStep], unit: float) -> Iterator[str]:
    """Yield lines such as `passed: Given an empty cart (12 ms)`. Hooks that passed are omitted."""
    for step in steps:
        if not (step.is_hook and step.status == "passed"):
            word = step.word if step.has_result else "not executed"
            duration: Any = step.result.get("duration")
            yield f"{word}: {step.label}{f' ({duration / unit:.0f} ms)' if is_duration(duration, unit) else ''}"
