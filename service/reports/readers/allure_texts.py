"""The failures, the files, and the steps of Allure results and fixtures."""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Final

from service.contracts.run_events import Failure
from service.domain.failures import strip_escapes
from service.domain.statuses import states_failure
from service.reports.attachments import Attachment
from service.reports.bounded_text import BoundedText
from service.reports.json_values import object_of, objects_of, text_of
from service.reports.readers.allure_cases import MASKED, text_of_value

_MAX_DEPTH: Final = 50  # of nested steps

AllurePart = Mapping[str, Any]  # a result, a fixture, or a step


def failure_of(part: AllurePart) -> Failure:
    """Return the message and the trace, without the escape sequences of colors."""
    details = object_of(part, "statusDetails")
    return failure_in(details)


def failure_in(details: Mapping[str, Any]) -> Failure:
    """Return the failure in the details of a status, or of an error of the run."""
    failure: Failure = {}
    if message := strip_escapes(text_of(details, "message") or "").strip():
        failure["message"] = message
    if trace := strip_escapes(text_of(details, "trace") or "").rstrip():
        failure["details"] = BoundedText(trace).details()
    return failure


def files_of(part: AllurePart, depth: int = 0) -> Iterator[Attachment]:
    """Yield the files of a part and of its steps."""
    for attachment in objects_of(part, "attachments") if "attachments" in part else ():
        if source := text_of(attachment, "source"):
            yield Attachment(source, text_of(attachment, "name"), text_of(attachment, "type"))
    for step in objects_of(part, "steps") if "steps" in part and depth < _MAX_DEPTH else ():
        yield from files_of(step, depth + 1)


def has_failed(fixture: AllurePart) -> bool:
    """Return whether a fixture states a failure. Adapters omit the status of a fixture that they don't observe."""
    return fixture.get("status") is not None and states_failure(fixture["status"])


def fixtures_of(container: AllurePart) -> list[AllurePart]:
    """Return the fixtures of a container in the order of their execution."""
    return [*objects_of(container, "befores"), *objects_of(container, "afters")]


def steps_text(result: AllurePart, containers: Sequence[AllurePart]) -> str:
    """Return the steps of a result between those of its fixtures, which are listed if they failed or have steps."""
    befores = [fixture for container in containers for fixture in objects_of(container, "befores")]
    afters = [fixture for container in containers for fixture in objects_of(container, "afters")]
    lines = [
        *_step_lines([fixture for fixture in befores if _is_listed(fixture)]),
        *_step_lines(objects_of(result, "steps")),
        *_step_lines([fixture for fixture in afters if _is_listed(fixture)]),
    ]
    return "\n".join(lines)


def _is_listed(fixture: AllurePart) -> bool:
    return has_failed(fixture) or bool(objects_of(fixture, "steps"))


def _step_lines(steps: Sequence[AllurePart], depth: int = 0) -> Iterator[str]:
    """Yield lines such as `failed: add the book (price=-1) 12 ms`. Nested steps and messages are indented."""
    for step in steps if depth < _MAX_DEPTH else ():
        indentation = "  " * depth
        nested = objects_of(step, "steps")
        status = text_of(step, "status")  # an attachment is a step without a status
        yield f"{indentation}{f'{status}: ' if status else ''}{text_of(step, 'name')}{_details_of(step)}"
        yield from _step_lines(nested, depth + 1)
        message = failure_of(step).get("message")
        if message and not any(failure_of(each).get("message") == message for each in nested):
            yield from (f"{indentation}  {line}" for line in message.splitlines())


def _details_of(step: AllurePart) -> str:
    """Return the parameters, without hidden ones, and the duration."""
    parameters = ", ".join(
        f"{text_of(each, 'name')}={MASKED if each.get('mode') == 'masked' else text_of_value(each)}"
        for each in objects_of(step, "parameters")
        if each.get("mode") != "hidden"
    )
    start, stop = step.get("start"), step.get("stop")
    duration = f" {stop - start} ms" if isinstance(start, int) and isinstance(stop, int) and stop > start else ""
    return (f" ({parameters})" if parameters else "") + duration
