"""The output and the steps of attempts in the JSON report of Playwright."""

from base64 import b64decode
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Final

from service.contracts.run_events import AttemptIn, ResultIn
from service.reports.bounded_text import BoundedText
from service.reports.json_values import objects_of, text_of
from service.reports.output import OutputPart, OutputWriter, of_attempt, set_output

_MAX_DEPTH: Final = 50  # of nested steps


def write_output(result: ResultIn, attempts: Sequence[tuple[Mapping[str, Any], AttemptIn]], to: OutputWriter) -> None:
    """Write the output of the attempts that didn't pass. Each attempt is a pair: as in the report, and converted."""
    parts: list[OutputPart] = []
    for number, (attempt, converted) in enumerate(attempts, 1):
        if converted["status"] != "passed":
            written = to.add(f"{result['suite']} {result['name']}", _texts_of(attempt))
            parts += written if number == len(attempts) else of_attempt(number, written)
    set_output(result, parts)


def _texts_of(attempt: Mapping[str, Any]) -> Iterator[tuple[str, BoundedText]]:
    for name in ("stdout", "stderr"):
        if chunks := objects_of(attempt, name):
            yield f"{name}.txt", BoundedText(b"".join(map(_bytes_of, chunks)).decode(errors="replace"))
    if steps := objects_of(attempt, "steps"):
        yield "steps.txt", BoundedText("\n".join(_step_lines(steps)))


def _bytes_of(chunk: Mapping[str, Any]) -> bytes:
    """Return a chunk in UTF-8. Playwright writes bytes that a test passes to `process.stdout.write` in Base64."""
    encoded = text_of(chunk, "buffer")
    if encoded is None:
        return (text_of(chunk, "text") or "").encode(errors="replace")
    try:
        return b64decode(encoded, validate=True)
    except ValueError:
        return encoded.encode(errors="replace")


def _step_lines(steps: Sequence[Mapping[str, Any]], depth: int = 0) -> Iterator[str]:
    """Yield lines such as `passed: open the page`. Nested steps are indented."""
    for step in steps if depth < _MAX_DEPTH else ():
        yield f"{'  ' * depth}{'failed' if step.get('error') else 'passed'}: {text_of(step, 'title')}"
        yield from _step_lines(objects_of(step, "steps"), depth + 1)
