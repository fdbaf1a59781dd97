"""Streaming reader of the JSON reporter of Playwright (`--reporter=json`)."""

from base64 import b64decode
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, BinaryIO, Final, cast

from service.domain.statuses import ResultStatus, states_failure
from service.domain.variants import MAX_TEXT
from service.failures.model import strip_escapes
from service.ingest.contract import AttemptIn, Failure, ResultIn
from service.reports.conversion.attachments import references
from service.reports.conversion.attempts import MAX_ATTEMPTS, join_failures, status_of_word, sum_of_durations
from service.reports.conversion.errors import malformed
from service.reports.conversion.metadata import ReportMetadata
from service.reports.conversion.names import SUITE_LEVEL_NAME, portable_path, suite_label
from service.reports.conversion.output import BoundedText, OutputPart, OutputWriter, of_attempt, set_output
from service.reports.conversion.times import utc_timestamp, valid_milliseconds
from service.reports.streams.chunks import in_lists
from service.reports.streams.json import JsonStream
from service.reports.streams.json_values import (
    add_duration,
    annotations_of,
    attachments_of,
    count_of,
    line_of,
    object_of,
    objects_of,
    text_of,
    texts_of,
)

_MAX_STEP_DEPTH: Final = 50  # of nested steps
_MAX_DEPTH: Final = 50  # of nested suites
# The status of an attempt that isn't the expected one. Playwright has no other statuses.
_STATUS_OF: Final[dict[str, ResultStatus]] = {
    "passed": "failed",
    "failed": "failed",
    "timedOut": "failed",
    "skipped": "skipped",
    "interrupted": "canceled",
}
_NOT_EXECUTED: Final = ("skipped", "canceled")
_DECLARED: Final = {"unexpected": "failures", "skipped": "skipped"}
_UNEXPECTED_SUCCESS: Final = "The test passed, but is marked as failing with test.fail()."


def read(source: BinaryIO, metadata: ReportMetadata) -> Iterator[list[ResultIn]]:
    """Yield the results in lists of bounded size. Raises ReportError if the file isn't valid JSON."""
    return in_lists(_results(JsonStream(source), metadata))


def _results(stream: JsonStream, metadata: ReportMetadata) -> Iterator[ResultIn]:
    root: str | None = None
    found = False
    for key in stream.members():
        if key == "suites" and stream.peek() == "[":
            found = True
            for _ in stream.elements():
                yield from _suite(stream, (), metadata)
            continue
        member = {key: stream.value()}
        if key == "config":
            root = text_of(object_of(member, key), "rootDir")  # to which the files of specs are relative
            metadata.checkout = metadata.checkout.below(root) if root else metadata.checkout
        elif key == "errors":
            yield from (_error_of_run(error, root, metadata) for error in objects_of(member, key))
        elif key == "stats":
            _add_stats(object_of(member, key), metadata)
    if not found:
        raise malformed("suites: must be a list")
    stream.expect_end()


def _suite(stream: JsonStream, path: tuple[str, ...], metadata: ReportMetadata) -> Iterator[ResultIn]:
    """Yield the results of the suite that is the next value in the stream. `path` contains the titles around it."""
    if len(path) > _MAX_DEPTH:
        raise malformed(f"suites: must be nested at most {_MAX_DEPTH} levels deep")
    title: str | None = None
    for key in stream.members():
        if key not in ("specs", "suites") or stream.peek() != "[":
            value = stream.value()
            title = str(value).replace("\\", "/" if not path else "\\") if key == "title" else title
            continue
        if title is None:
            raise malformed("suites.title: must be before specs and suites")
        if key == "specs":
            for spec in stream.items():
                yield from _spec(spec, suite_label((*path, title)), metadata)
        else:
            for _ in stream.elements():
                yield from _suite(stream, (*path, title), metadata)


def _spec(spec: Any, suite: str, metadata: ReportMetadata) -> Iterator[ResultIn]:
    """Yield a result for each project in which the test is executed."""
    if not isinstance(spec, dict):
        raise malformed("suites.specs: must be a list of objects")
    tests = spec.get("tests")
    if not isinstance(tests, list):
        raise malformed("suites.specs.tests: must be a list")
    for test in tests:
        if not isinstance(test, dict):
            yield test  # ingest rejects it with its index
            continue
        result: ResultIn = {"suite": suite, "name": cast("str", spec.get("title")), "status": "skipped"}
        if project := _printable(text_of(test, "projectName")):
            result["variant"] = {"project": project}
        if file := text_of(spec, "file"):
            result["file"] = metadata.checkout.file_of(file)
        if line := line_of(spec):
            result["line"] = line
        _add_attempts(result, test, metadata)
        metadata.add_properties(result, _properties_of(spec, test))
        _count(result, metadata)
        yield result


def _printable(text: str | None) -> str:
    return "".join(filter(str.isprintable, text or ""))[:MAX_TEXT]


def _add_attempts(result: ResultIn, test: Mapping[str, Any], metadata: ReportMetadata) -> None:
    """Add the status and the attempts. Attempts that were skipped or interrupted count only if no other exists."""
    listed = test.get("results")
    read = [attempt if isinstance(attempt, dict) else {} for attempt in listed] if isinstance(listed, list) else []
    attempts = [(attempt, _attempt_of(attempt, test, metadata)) for attempt in read]
    executed = [pair for pair in attempts if pair[1]["status"] not in _NOT_EXECUTED] or attempts[-1:]
    if not executed:
        return
    first, last = executed[0][1], executed[-1][1]
    result["status"] = last["status"]
    for _, attempt in executed:
        result["duration_ms"] = sum_of_durations(result, attempt)
    if "started_at" in first:
        result["started_at"] = first["started_at"]
    if "failure" in last:
        result["failure"] = last["failure"]
    if len(executed) > 1:
        result["attempts"] = [attempt for _, attempt in executed[-MAX_ATTEMPTS:]]
        metadata.contains_failures |= states_failure(first["status"])
    _write_output(result, executed, metadata.output)
    _add_attachments(result, [attempt for attempt, _ in executed])


def _attempt_of(attempt: Mapping[str, Any], test: Mapping[str, Any], metadata: ReportMetadata) -> AttemptIn:
    written = attempt.get("status")
    known = _STATUS_OF.get(str(written))
    is_expected = known is not None and written == test.get("expectedStatus") and written != "skipped"
    status = "passed" if is_expected else known or status_of_word(written)
    converted: AttemptIn = {"status": status}
    add_duration(converted, attempt, metadata.unreadable)
    if started_at := utc_timestamp(text_of(attempt, "startTime")):
        converted["started_at"] = started_at
    if status not in ("passed", "skipped"):
        failures = [_failure_of(error) for error in objects_of(attempt, "errors")]
        if written == "passed":
            failures.insert(0, {"message": _UNEXPECTED_SUCCESS})
        if failures:
            converted["failure"] = join_failures(failures)
    return converted


def _failure_of(error: Mapping[str, Any]) -> Failure:
    """Return the first paragraph as the message, and the complete text, with a stack or a code snippet, as details."""
    text = strip_escapes(text_of(error, "message") or text_of(error, "value") or "")
    stack = strip_escapes(text_of(error, "stack") or "")
    message, details = text.partition("\n\n")[0], stack if text in stack else text
    return {"message": message, "details": details} if details != message else {"message": message}


def _write_output(result: ResultIn, attempts: Sequence[tuple[Mapping[str, Any], AttemptIn]], to: OutputWriter) -> None:
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
    for step in steps if depth < _MAX_STEP_DEPTH else ():
        yield f"{'  ' * depth}{'failed' if step.get('error') else 'passed'}: {text_of(step, 'title')}"
        yield from _step_lines(objects_of(step, "steps"), depth + 1)


def _add_attachments(result: ResultIn, attempts: Sequence[Mapping[str, Any]]) -> None:
    """Add the files of the executed attempts."""
    numbers = [*range(1, len(attempts)), None]
    pairs = zip(attempts, numbers, strict=True)
    if attachments := [file for attempt, number in pairs for file in attachments_of(attempt, number)]:
        result["artifacts"] = references(attachments)


def _properties_of(spec: Mapping[str, Any], test: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    """Yield the tags as one property, and each annotation with a description."""
    yield from (("tags", tag) for tag in texts_of(spec, "tags"))
    yield from annotations_of(test)


def _count(result: ResultIn, metadata: ReportMetadata) -> None:
    metadata.counted["tests"] += 1
    metadata.counted["failures"] += result["status"] == "failed"
    metadata.counted["skipped"] += result["status"] in _NOT_EXECUTED
    metadata.contains_failures |= states_failure(result["status"])


def _error_of_run(error: Mapping[str, Any], root: str | None, metadata: ReportMetadata) -> ResultIn:
    """Return an error that belongs to no test, such as one in a configuration, as a result, so that it isn't lost."""
    metadata.contains_failures = True
    file = (text_of(object_of(error, "location"), "file") or "").replace("\\", "/")
    suite = portable_path(file, f"{root}/" if root else None)
    return {"suite": suite, "name": SUITE_LEVEL_NAME, "status": "error", "failure": _failure_of(error)}


def _add_stats(stats: Mapping[str, Any], metadata: ReportMetadata) -> None:
    metadata.times.add(utc_timestamp(text_of(stats, "startTime")))
    metadata.times.set_duration(valid_milliseconds(stats.get("duration")))
    for name in ("expected", "unexpected", "flaky", "skipped"):
        if (count := count_of(stats, name)) is not None:
            metadata.declare("tests", count)
            if name in _DECLARED:
                metadata.declare(_DECLARED[name], count)
