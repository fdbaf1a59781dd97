"""Reports in JSON, told apart by what they hold: CTRF, native results as an object or a list, and NDJSON."""

from collections.abc import Iterator
from typing import Any, BinaryIO, Final

from service.contracts.run_events import ResultIn, RunIn
from service.reports import ctrf
from service.reports.errors import ReportError, malformed
from service.reports.json_stream import JsonStream
from service.reports.metadata import ReportMetadata
from service.reports.times import timestamp

_PER_LIST: Final = 500
_MAX_DEPTH: Final = 50
_INT64: Final = 2**63
_RESULT_FIELDS: Final = frozenset(ResultIn.__annotations__)
_RUN_FIELDS: Final = frozenset(RunIn.__annotations__)
_ALLURE: Final = frozenset({"uuid", "steps"})
_KEPT: Final = _RESULT_FIELDS | _RUN_FIELDS | _ALLURE | {"run"}
# What other tools write may have `name` and `status` too, but has one of these besides.
_FOREIGN: Final = {
    "historyId": "Allure result",
    "protocolVersion": "Dart test events",
    "suites": "Playwright report",
    "testResults": "Jest report",
    "stats": "Mocha report",
}


def read(source: BinaryIO, said: ReportMetadata) -> Iterator[list[ResultIn]]:
    """The results in lists of bounded size. Raises ReportError where it ends before the file does.

    A native result is handed on as it came: whether it is valid is found out, one by one, where all are.
    """
    stream = JsonStream(source)
    pending: list[ResultIn] = []
    for result in _results(stream, said):
        pending.append(_portable(result))
        if len(pending) >= _PER_LIST:
            yield pending
            pending = []
    yield pending


def _results(stream: JsonStream, said: ReportMetadata) -> Iterator[ResultIn]:
    match stream.peek():
        case "[":
            said.format = "json"
            yield from map(_known_fields, stream.items())
            stream.expect_end()
        case "{":
            yield from _object(stream, said)
        case _:
            raise malformed("not JSON: neither an object nor a list")


def _object(stream: JsonStream, said: ReportMetadata) -> Iterator[ResultIn]:
    """A whole report, or the first of the records that NDJSON consists of."""
    others: dict[str, Any] = {}
    found = False
    for key in stream.members():
        if key == "results" and stream.peek() in ("[", "{"):
            found = True
            yield from _listed(stream, said)
            continue
        if key in _FOREIGN:
            raise ReportError("unsupported_format", f"unsupported format: {_FOREIGN[key]}")
        value = stream.value()
        if key in _KEPT:
            others[key] = value
    if found:
        _hear(others, said)
        stream.expect_end()
    else:
        yield from _records(others, stream, said)


def _listed(stream: JsonStream, said: ReportMetadata) -> Iterator[ResultIn]:
    if stream.peek() == "{":
        said.format = "ctrf"
        yield from ctrf.read_results(stream, said)
    else:
        said.format = "json"
        yield from map(_known_fields, stream.items())


def _records(first: dict[str, Any], stream: JsonStream, said: ReportMetadata) -> Iterator[ResultIn]:
    """One result after the other; before them, where it is given, an object with `run` alone."""
    said.format = "ndjson"
    if first.keys() >= _ALLURE:
        raise ReportError("unsupported_format", "unsupported format: Allure result")
    if "name" in first:
        yield _known_fields(first)
    elif isinstance(first.get("run"), dict):
        _hear(first, said)
    else:
        raise ReportError("unsupported_format", "unsupported format: JSON with no results, nor the name of one")
    while stream.peek():
        yield _known_fields(stream.value())


def _hear(others: dict[str, Any], said: ReportMetadata) -> None:
    """Fields of the run stand in an object of their own or beside the results."""
    run = others.get("run")
    fields = {**others, **run} if isinstance(run, dict) else others
    said.run |= {name: value for name, value in fields.items() if name in _RUN_FIELDS}
    said.started_at = said.started_at or _moment(said.run.get("started_at"))
    said.completed_at = said.completed_at or _moment(said.run.get("completed_at"))


def _moment(value: Any) -> Any:
    return timestamp(value) if isinstance(value, str) else None


def _known_fields(result: Any) -> Any:
    if not isinstance(result, dict):
        return result
    return {name: value for name, value in result.items() if name in _RESULT_FIELDS}


def _portable(value: Any, depth: int = 0) -> Any:
    """The value without what other readers of JSON stumble over: it may spoil its result, but no others."""
    match value:
        case dict() | list() if depth > _MAX_DEPTH:
            return None
        case dict():
            return {key: _portable(item, depth + 1) for key, item in value.items()}
        case list():
            return [_portable(item, depth + 1) for item in value]
        case int() if not -_INT64 <= value < _INT64:
            return str(value)
        case _:
            return value
