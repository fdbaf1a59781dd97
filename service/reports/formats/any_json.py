"""Reader of all JSON formats: CTRF, native results as an object or a list, and NDJSON. The keys distinguish them."""

from collections.abc import Iterator
from typing import Any, BinaryIO, Final

from service.ingest.contract import ResultIn, UploadedRun
from service.reports.conversion.errors import ReportError, malformed, unsupported, unsupported_keys
from service.reports.conversion.metadata import ReportMetadata
from service.reports.formats import ctrf
from service.reports.other_formats import DECISIVE_KEYS
from service.reports.streams.chunks import in_lists, portable_json
from service.reports.streams.json import JsonStream

_RESULT_FIELDS: Final = frozenset(ResultIn.__annotations__)
_RUN_FIELDS: Final = frozenset(UploadedRun.__annotations__)
_PORTABLE_NAMES: Final = "portable_names"  # of the first record: the names are those of the tool
_STORED_FIELDS: Final = _RESULT_FIELDS | _RUN_FIELDS | {"run", _PORTABLE_NAMES}
_MAX_KEYS: Final = 100  # that are examined to detect other tools
_NO_RESULTS: Final = "the JSON object contains no results"
_SINGLE_RESULT: Final = (
    'the JSON object is a single result. Send {"results": […]}, or NDJSON with the media type application/x-ndjson'
)


def read(source: BinaryIO, metadata: ReportMetadata) -> Iterator[list[ResultIn]]:
    """Yield the results in lists of bounded size. Raises ReportError if the file isn't valid JSON.

    Native results aren't validated here. Ingest validates the results of all formats, one by one.
    """
    return in_lists(map(portable_json, _results(JsonStream(source), metadata)))


def _results(stream: JsonStream, metadata: ReportMetadata) -> Iterator[ResultIn]:
    match stream.peek():
        case "[":
            metadata.format = "json"
            yield from map(_known_fields, stream.items())
            stream.expect_end()
        case "{":
            yield from _object(stream, metadata)
        case _:
            raise malformed("invalid JSON: the report must be an object or a list")


def _object(stream: JsonStream, metadata: ReportMetadata) -> Iterator[ResultIn]:
    """Yield the results of a complete report, or of NDJSON records that start with this object."""
    fields: dict[str, Any] = {}
    keys: set[str] = set()
    found = False
    try:
        for key in stream.members():
            if key == "results" and stream.peek() in ("[", "{"):
                found = True
                yield from _result_list(stream, metadata)
                continue
            if key in DECISIVE_KEYS:
                raise unsupported_keys({key})
            if len(keys) < _MAX_KEYS:
                keys.add(key)
            value = stream.value()
            if key in _STORED_FIELDS:
                fields[key] = value
    except ReportError:
        if found or isinstance(fields.get("run"), dict):  # otherwise, the object can be a result
            _add_run_fields(fields, metadata)
        raise
    if found:
        _add_run_fields(fields, metadata)
        stream.expect_end()
    else:
        yield from _records(fields, keys, stream, metadata)


def _result_list(stream: JsonStream, metadata: ReportMetadata) -> Iterator[ResultIn]:
    if stream.peek() == "{":
        metadata.format = "ctrf"
        yield from ctrf.read_results(stream, metadata)
    else:
        metadata.format = "json"
        yield from map(_known_fields, stream.items())


def _records(first: dict[str, Any], keys: set[str], stream: JsonStream, metadata: ReportMetadata) -> Iterator[ResultIn]:
    """Yield one result per record. The first record can be an object with only `run`.

    A single object with a name can be any file, unless the media type states NDJSON.
    """
    states_ndjson = metadata.format == "ndjson"
    metadata.format = "ndjson"
    if "name" in first:
        if not (states_ndjson or stream.peek()):
            raise unsupported(_SINGLE_RESULT if "status" in first else _NO_RESULTS)
        yield _known_fields(first)
    elif isinstance(first.get("run"), dict):
        _add_run_fields(first, metadata)
        metadata.portable_names = first.get(_PORTABLE_NAMES) is True
    else:
        raise unsupported_keys(keys)
    while stream.peek():
        yield _known_fields(stream.value())


def _add_run_fields(fields: dict[str, Any], metadata: ReportMetadata) -> None:
    """Add the fields of the run, which are in the object `run` or at the level of the results."""
    run = fields.get("run")
    merged = {**fields, **run} if isinstance(run, dict) else fields
    metadata.run |= {name: value for name, value in merged.items() if name in _RUN_FIELDS}


def _known_fields(result: Any) -> Any:
    if not isinstance(result, dict):
        return result
    return {name: value for name, value in result.items() if name in _RESULT_FIELDS}
