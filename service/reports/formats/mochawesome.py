"""Streaming reader of the JSON report of mochawesome, a reporter of Mocha and Cypress, and of mochawesome-merge."""

import json
import re
from collections.abc import Iterator, Mapping
from typing import Any, BinaryIO, Final, NamedTuple, cast

from service.domain.statuses import ResultStatus, states_failure
from service.failures.model import strip_escapes
from service.ingest.contract import Failure, ResultIn
from service.reports.conversion.attachments import Attachment, kind_of, references
from service.reports.conversion.attempts import make_failure, status_of_word
from service.reports.conversion.errors import malformed
from service.reports.conversion.metadata import ReportMetadata, mark_outside
from service.reports.conversion.names import MAX_LABEL, Checkout, portable_name, relative_path
from service.reports.conversion.times import utc_timestamp, valid_milliseconds
from service.reports.streams.chunks import in_lists
from service.reports.streams.json import JsonStream
from service.reports.streams.json_values import add_duration, count_of, declare_counts, object_of, text_of, written_text

_UNTITLED: Final = "context"  # the name of a value without a title
_MAX_PATH: Final = 4_096
_SHOWN: Final = ("screenshot", "video")  # kinds of files whose paths can contain spaces
_MAX_DEPTH: Final = 50  # of nested suites
_ROOT: Final = "Root Suite"  # the name of the suite without a title in mocha-junit-reporter
_LISTS: Final = ("tests", "suites", "beforeHooks", "afterHooks")
_FIELDS: Final = ("title", "fullFile", "file")
_FLAGS: Final = ("fail", "pass", "pending", "skipped")
# `failures` doesn't contain the failed hooks, which are `other`. `skipped` are the tests that a failed hook prevented.
_DECLARED: Final = {"failures": "failures", "other": "failures", "pending": "skipped", "skipped": "skipped"}
_ERROR_TYPE: Final = re.compile(r"([A-Za-z_$][\w$.]*)(?:: |\Z)", re.ASCII)  # without a message, only the type


def read(source: BinaryIO, metadata: ReportMetadata) -> Iterator[list[ResultIn]]:
    """Yield the results in lists of bounded size. Raises ReportError if the file isn't valid JSON."""
    return in_lists(_results(JsonStream(source), metadata))


def _results(stream: JsonStream, metadata: ReportMetadata) -> Iterator[ResultIn]:
    found = False
    for key in stream.members():
        if key == "results" and stream.peek() == "[":
            found = True
            for _ in stream.elements():
                yield from _suite(stream, None, metadata)
        elif key == "stats":
            _add_stats(object_of({key: stream.value()}, key), metadata)
        else:
            stream.skip()
    if not found:
        raise malformed("results: must be a list")
    stream.expect_end()


class _Suite(NamedTuple):
    """An open suite. Its file is the one of the suite around it if it states none."""

    title: str
    file: str | None
    depth: int


def _suite(stream: JsonStream, parent: _Suite | None, metadata: ReportMetadata) -> Iterator[ResultIn]:
    """Yield the results of the suite that is the next value in the stream. A run without any test has `false`."""
    depth = parent.depth + 1 if parent else 0
    if depth > _MAX_DEPTH:
        raise malformed(f"suites: must be nested at most {_MAX_DEPTH} levels deep")
    if stream.peek() != "{":
        if stream.value() is False and parent is None:
            return
        raise malformed("results: must be a list of suites")
    fields: dict[str, Any] = {}
    for key in stream.members():
        if key in _LISTS:
            if stream.peek() != "[":
                raise malformed(f"suites.{key}: must be a list")
            yield from _list(key, stream, _open_suite(fields, parent, depth, metadata.checkout), metadata)
        else:
            value = stream.value()
            if key in _FIELDS:
                fields[key] = value


def _list(key: str, stream: JsonStream, suite: _Suite, metadata: ReportMetadata) -> Iterator[ResultIn]:
    """Yield the results of the list that is the next value in the stream."""
    if key == "suites":
        for _ in stream.elements():
            yield from _suite(stream, suite, metadata)
    elif key == "tests":
        yield from (_result_of(test, suite, metadata) for test in stream.items())
    else:
        yield from (_result_of_hook(hook, suite, metadata) for hook in stream.items() if _has_failed(hook))


def _result_of(test: Any, suite: _Suite, metadata: ReportMetadata) -> ResultIn:
    """Return the native result of a test or a hook. Return any other value unchanged: ingest rejects it."""
    if not isinstance(test, dict):
        return cast("ResultIn", test)
    name = text_of(test, "fullTitle")
    status = _status_of(test)
    result: ResultIn = {
        "suite": suite.title,
        "name": cast("str", test.get("title")) if name is None else portable_name(name) or suite.title,
        "status": status,
    }
    if suite.file:
        result["file"] = suite.file
    add_duration(result, test, metadata.unreadable)
    if status != "passed" and (failure := _failure_of(object_of(test, "err"))):
        result["failure"] = failure
    if context := text_of(test, "context"):
        _add_context(result, context, metadata)
    if test.get("isHook") is not True:
        _count(status, metadata)
    return result


def _status_of(test: Mapping[str, Any]) -> ResultStatus:
    """Return the status that `state` states. A test that a failed hook prevented has only the flag `skipped`."""
    state = test.get("state")
    if state is None:
        state = next((flag for flag in _FLAGS if test.get(flag) is True), None)
    return status_of_word(state)


def _failure_of(error: Mapping[str, Any]) -> Failure:
    """Return the failure. The message starts with the type, and the difference of the values isn't in the stack."""
    message = strip_escapes(text_of(error, "message") or "")
    kind = _ERROR_TYPE.match(message)
    texts = [strip_escapes(text) for key in ("estack", "diff") if (text := text_of(error, key))]
    return make_failure(kind[1] if kind else None, message[kind.end() :] if kind else message, "\n\n".join(texts))


def _add_context(result: ResultIn, context: str, metadata: ReportMetadata) -> None:
    """Add the files as references, and the other values as properties. The context is JSON in a text."""
    attachments: list[Attachment] = []
    properties: list[tuple[str, str]] = []
    for title, value in _values_of(context):
        if isinstance(value, str) and _is_file(value):
            attachments.append(Attachment(value, title))
        elif value not in (None, "", []):
            properties.append((title or _UNTITLED, written_text(value)))
    if attachments:
        result["artifacts"] = references(attachments)
    metadata.add_properties(result, properties)


def _values_of(context: str) -> Iterator[tuple[str | None, Any]]:
    """Yield title and value of each item. The context is one item or a list of them, and an item can have a title."""
    try:
        parsed = json.loads(context)
    except (ValueError, RecursionError):
        parsed = context
    for item in parsed if isinstance(parsed, list) else [parsed]:
        if not isinstance(item, dict) or "value" not in item:
            yield None, item
            continue
        title = text_of(item, "title") or None
        value = item["value"]
        if isinstance(value, list) and all(isinstance(path, str) and _is_file(path) for path in value):
            yield from ((title, path) for path in value)  # screenshots of cypress-mochawesome-reporter
        else:
            yield title, value


def _is_file(value: str) -> bool:
    """Return whether a text is the path or the address of a file. An image can also be a data URL, which is none."""
    if len(value) > _MAX_PATH or not value.isprintable() or value.startswith("data:"):
        return False
    kind = kind_of(value)
    return kind in _SHOWN or (kind != "other" and " " not in value)


def _count(status: ResultStatus, metadata: ReportMetadata) -> None:
    metadata.counted["tests"] += 1
    if status == "skipped":
        metadata.counted["skipped"] += 1
    elif status != "passed":
        metadata.counted["failures"] += status == "failed"
        metadata.contains_failures |= states_failure(status)


def _result_of_hook(hook: Mapping[str, Any], suite: _Suite, metadata: ReportMetadata) -> ResultIn:
    """Return the result of a failed hook. It isn't a test: mochawesome-merge doesn't count it as a failure."""
    metadata.executions["failures"] += 1
    metadata.contains_failures = True
    state = hook.get("state") if _states_failure(hook) else "failed"
    return mark_outside(_result_of({**hook, "state": state, "isHook": True}, suite, metadata), "hook")


def _states_failure(hook: Mapping[str, Any]) -> bool:
    state = hook.get("state")
    return isinstance(state, str) and states_failure(state)


def _has_failed(hook: Any) -> bool:
    """Return whether a hook has failed. Other hooks aren't results."""
    if not isinstance(hook, dict):
        return False
    return bool(hook.get("fail") is True or hook.get("err") or _states_failure(hook))


def _open_suite(fields: Mapping[str, Any], parent: _Suite | None, depth: int, checkout: Checkout) -> _Suite:
    title = text_of(fields, "title")
    if title is None:
        raise malformed("suites.title: must be a text before tests, hooks, and suites")
    title = portable_name(title) or _ROOT
    return _Suite(title[:MAX_LABEL], _file_of(fields, checkout) or (parent.file if parent else None), depth)


def _file_of(fields: Mapping[str, Any], checkout: Checkout) -> str | None:
    """Return the file relative to the checkout, or to the working directory of Mocha, which `file` omits.

    For example, `fullFile` is `/ci/shop/test/cart.js`, and `file` is `/test/cart.js`. The suite without a title has no
    `fullFile`, and a complete path in `file`.
    """
    below = text_of(fields, "file") or ""
    path = text_of(fields, "fullFile") or below
    if relative_path(path, checkout.root) is None and below != path and path.endswith(below):
        path = below.lstrip("/\\")
    stored = checkout.file_of(path)
    return (stored if "/" in stored else stored.replace("\\", "/"))[:MAX_LABEL] or None


def _add_stats(stats: Mapping[str, Any], metadata: ReportMetadata) -> None:
    metadata.times.add(utc_timestamp(text_of(stats, "start")))
    metadata.times.set_end(utc_timestamp(text_of(stats, "end")))
    metadata.times.set_duration(valid_milliseconds(stats.get("duration")))
    tests = count_of(stats, "testsRegistered")
    if (tests := count_of(stats, "tests") if tests is None else tests) is not None:
        metadata.declare("tests", tests)
    declare_counts(metadata, stats, _DECLARED)
