"""Streaming reader of CTRF, the Common Test Report Format."""

from collections.abc import Iterator, Mapping
from typing import Any, Final, cast

from service.domain.statuses import FAILING, ResultStatus, read_status
from service.ingest.contract import AttemptIn, Failure, ResultIn
from service.reports.conversion.attachments import Attachment, references
from service.reports.conversion.attempts import MAX_ATTEMPTS, make_failure, status_of_word
from service.reports.conversion.errors import malformed
from service.reports.conversion.metadata import ReportMetadata, UnreadableDurations
from service.reports.conversion.names import SEPARATOR, portable_name, portable_path, suite_label
from service.reports.conversion.output import BoundedText, OutputPart, OutputWriter, of_attempt, set_output
from service.reports.conversion.times import epoch_ms
from service.reports.streams.json import JsonStream
from service.reports.streams.json_values import (
    add_duration,
    annotations_of,
    attachments_of,
    declare_counts,
    line_of,
    object_of,
    objects_of,
    text_of,
    texts_of,
    written_text,
)

_OTHER: Final = "other"  # the status of a test whose own status is only in `rawStatus`
_RUN_FIELDS: Final = {
    "branchName": "branch",
    "commit": "commit_sha",
    "buildUrl": "ci_url",
    "testEnvironment": "environment",
}
_OUTPUTS: Final = ("stdout", "stderr", "steps", "snippet")
_PROPERTIES: Final = frozenset({"tags", "labels", "extra"})
_DECLARED: Final = {"tests": "tests", "failed": "failures", "skipped": "skipped", "pending": "skipped"}


def read_results(stream: JsonStream, metadata: ReportMetadata) -> Iterator[ResultIn]:
    """Yield the tests of the object `results`, which must be the next value in the stream. Raises ReportError."""
    found = False
    for key in stream.members():
        if key == "tests" and stream.peek() == "[":
            found = True
            for test in stream.items():
                yield _count(_result_of(test, metadata), test, metadata)
        else:
            _add_run_fields(key, stream.value(), metadata)
    if not found:
        raise malformed("results.tests: must be a list")


def _count(result: ResultIn, test: Any, metadata: ReportMetadata) -> ResultIn:
    """Count the result, and return it.

    playwright-ctrf-json-reporter counts an expected failure, of `test.fail()`, as failed, although the test passed.
    """
    status = result.get("status") if isinstance(result, dict) else None
    metadata.count(status)
    is_expected_failure = status == "passed" and read_status(test.get("rawStatus")) in FAILING
    metadata.executions["failures"] += is_expected_failure
    metadata.contains_failures |= is_expected_failure
    return result


def _result_of(test: Any, metadata: ReportMetadata) -> ResultIn:
    """Return the native result of a test. Return any other value unchanged: ingest rejects it with its index."""
    if not isinstance(test, dict):
        return cast("ResultIn", test)
    path = text_of(test, "filePath")
    file = portable_path(path, metadata.checkout.root) if path else None
    name = test.get("name", "")
    result: ResultIn = {
        "suite": _suite_of(test.get("suite"), file),
        "name": portable_name(name) or file or "" if isinstance(name, str) else name,
        "status": _status_of(test),
    }
    add_duration(result, test, metadata.unreadable)
    if path and file:
        result["file"] = metadata.checkout.file_of(path)
    if line := line_of(test):
        result["line"] = line
    if started_at := epoch_ms(test.get("start")):
        result["started_at"] = started_at
    _add_outcome(result, test, metadata.unreadable)
    if attachments := list(_attachments_of(test)):
        result["artifacts"] = references(attachments)
    if not _PROPERTIES.isdisjoint(test):
        metadata.add_properties(result, _properties_of(test))
    set_output(result, list(_output_of(result, test, metadata.output)))
    return result


def _suite_of(suite: Any, file: str | None) -> str:
    """Return the suites, or the file without them. The file replaces its name without folders (jest-ctrf).

    `cart.test.js > totals` in the file `web/cart.test.js` becomes `web/cart.test.js > totals`.
    """
    parts = [suite] if isinstance(suite, str) else suite if isinstance(suite, list) else []
    path = [name for part in parts if isinstance(part, str) and (name := portable_name(part))]
    if file and path:
        first, separator, others = path[0].partition(SEPARATOR)
        if first == file.rpartition("/")[2]:
            path[0] = f"{file}{separator}{others}"
    return suite_label(path, file=None if path else file)


def _status_of(test: Mapping[str, Any]) -> ResultStatus:
    """Return the status, which `rawStatus` states if it is `other`. Return an unknown word unchanged: see ingest."""
    word: Any = test.get("status")
    if isinstance(word, str) and word.lower() == _OTHER:
        word = test.get("rawStatus") or word
    return status_of_word(word)


def _add_outcome(result: ResultIn, test: Mapping[str, Any], unreadable: UnreadableDurations) -> None:
    failure = _failure_of(test)
    if failure and result["status"] != "passed":
        result["failure"] = failure
    if attempts := _listed_attempts(result, test, unreadable):
        result["attempts"] = attempts[-MAX_ATTEMPTS:]
    else:
        _add_implied_attempts(result, test, failure)


def _failure_of(test: Mapping[str, Any]) -> Failure:
    return make_failure(message=text_of(test, "message"), details=text_of(test, "trace"))


def _listed_attempts(result: ResultIn, test: Mapping[str, Any], unreadable: UnreadableDurations) -> list[AttemptIn]:
    """Return the listed attempts, plus the last attempt if the producer lists only the attempts before it."""
    attempts = [_attempt_of(attempt, unreadable) for attempt in objects_of(test, "retryAttempts")]
    retries = test.get("retries")
    if attempts and (attempts[-1]["status"] != result["status"] or retries == len(attempts)):
        attempts.append(_last_attempt(result))
    return attempts


def _attempt_of(listed: Mapping[str, Any], unreadable: UnreadableDurations) -> AttemptIn:
    attempt: AttemptIn = {"status": _status_of(listed)}
    add_duration(attempt, listed, unreadable)
    if started_at := epoch_ms(listed.get("start")):
        attempt["started_at"] = started_at
    if failure := _failure_of(listed):
        attempt["failure"] = failure
    return attempt


def _last_attempt(result: ResultIn) -> AttemptIn:
    attempt: AttemptIn = {"status": result["status"]}
    if "duration_ms" in result:
        attempt["duration_ms"] = result["duration_ms"]
    if "failure" in result:
        attempt["failure"] = result["failure"]
    return attempt


def _add_implied_attempts(result: ResultIn, test: Mapping[str, Any], failure: Failure) -> None:
    """Add the number of retries, and the last failed attempt before the last one, if the report only counts attempts.

    Don't add an attempt for each retry: a few bytes of a report would become a thousand rows.
    """
    retries = test.get("retries")
    count = retries if isinstance(retries, int) else 0
    count = max(count, 1) if test.get("flaky") is True else count
    if count < 1 or result["status"] not in ("passed", "failed"):
        return
    earlier: AttemptIn = {"status": "failed"}
    if failure and result["status"] == "passed":
        earlier["failure"] = failure
    result["attempts"] = [earlier, _last_attempt(result)]
    result["retries"] = min(count, MAX_ATTEMPTS - 1)


def _attachments_of(test: Mapping[str, Any]) -> Iterator[Attachment]:
    """Yield the files of the listed attempts, and the files of the test itself, which its last attempt wrote."""
    for number, attempt in enumerate(objects_of(test, "retryAttempts"), 1):
        yield from attachments_of(attempt, number)
    yield from attachments_of(test)


def _properties_of(test: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    """Yield the tags as one property, each member of `labels` and `extra` that isn't empty, and annotations."""
    yield from (("tags", tag) for tag in texts_of(test, "tags"))
    for key in ("labels", "extra"):
        for name, value in object_of(test, key).items():
            if name == "annotations" and objects_of(object_of(test, key), name):
                yield from annotations_of(object_of(test, key))
            elif value not in (None, [], {}):
                yield name, written_text(value)


def _output_of(result: ResultIn, test: Mapping[str, Any], output: OutputWriter) -> Iterator[OutputPart]:
    """Write the output of the listed attempts and of the test, unless they passed, and yield its parts."""
    heading = f"{result.get('suite')} {result['name']}"
    for number, attempt in enumerate(objects_of(test, "retryAttempts"), 1):
        if _status_of(attempt) != "passed":
            yield from of_attempt(number, output.add(heading, _texts(attempt)))
    if result["status"] != "passed":
        yield from output.add(heading, _texts(test))


def _texts(part: Mapping[str, Any]) -> Iterator[tuple[str, BoundedText]]:
    for name in _OUTPUTS:
        value = part.get(name)
        lines = [value] if isinstance(value, str) else value if isinstance(value, list) else []
        if text := "\n".join(line if isinstance(line, str) else _step_line(line) for line in lines):
            yield f"{name}.txt", BoundedText(text)


def _step_line(step: Any) -> str:
    """Return a line such as `passed: open the page`."""
    if isinstance(step, dict) and isinstance(step.get("name"), str):
        return f"{step.get('status')}: {step['name']}"
    return written_text(step)


def _add_run_fields(key: str, value: Any, metadata: ReportMetadata) -> None:
    """Add the fields of the run from the objects `summary` and `environment`."""
    if not isinstance(value, dict):
        return
    if key == "environment":
        metadata.run |= {field: text for name, field in _RUN_FIELDS.items() if (text := text_of(value, name))}
    elif key == "summary":
        metadata.times.add(epoch_ms(value.get("start")))
        metadata.times.set_end(epoch_ms(value.get("stop")))
        declare_counts(metadata, value, _DECLARED)
