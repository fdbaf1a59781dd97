"""The file of results between the parser process and the worker: each line is a JSON array of results."""

import json
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any, BinaryIO, Final

import orjson

from service.domain.texts import clean_json
from service.ingest.contract import ResultIn
from service.reports.conversion.attempts import count_rows
from service.reports.conversion.errors import ReportError, malformed
from service.reports.model import MAX_REPORT_ROWS

_PER_LIST: Final = 500
_MAX_RESULTS: Final = 2_000  # per line
_MAX_BYTES: Final = 2 * 2**20  # per line, unless a single result is larger
_MAX_DEPTH: Final = 50  # of values
_INT64: Final = 2**63
_NUL: Final = b"\\u0000"
_MAX_FILE_BYTES: Final = 4 * 2**30  # of an upload; only reports that were built to expand can reach this size


class ChunkWriter:
    """Writes results to a file in lines of bounded size, and counts and limits them."""

    def __init__(self, target: BinaryIO, max_rows: int = MAX_REPORT_ROWS) -> None:
        self.results = 0
        self.rows = 0  # results, listed attempts, and artifacts
        self._max_rows = max_rows
        self._target = target
        self._line: list[bytes] = []
        self._line_results = self._line_bytes = 0

    def add(self, results: list[ResultIn]) -> None:
        """Add results to the current line; write the line and start a new one if it is full.

        Raises ReportError if the results, listed attempts, and artifacts of the report exceed `max_rows`.
        """
        self.rows += count_rows(results)
        if self.rows > self._max_rows:
            raise ReportError(
                "too_large", f"the report has more than {self._max_rows} results, attempts, and artifacts"
            )
        for start in range(0, len(results), _MAX_RESULTS):
            self._append(results[start : start + _MAX_RESULTS])

    def finish(self) -> None:
        """Write the current line. Raises ReportError if the file of the upload is too large."""
        if self._line:
            self._target.write(b"[" + b",".join(self._line) + b"]\n")
            if self._target.tell() > _MAX_FILE_BYTES:
                raise malformed(f"the results of the upload are larger than {_MAX_FILE_BYTES} bytes")
        self._line.clear()
        self._line_results = self._line_bytes = 0

    def _append(self, results: list[ResultIn]) -> None:
        dumped = _dump(results)[1:-1]
        if len(dumped) > _MAX_BYTES and len(results) > 1:
            middle = len(results) // 2
            self._append(results[:middle])
            self._append(results[middle:])
            return
        if self._line_results + len(results) > _MAX_RESULTS or self._line_bytes + len(dumped) > _MAX_BYTES:
            self.finish()
        self.results += len(results)
        self._line_results += len(results)
        self._line_bytes += len(dumped)
        self._line.append(dumped)


def _dump(results: list[ResultIn]) -> bytes:
    """Return the results as JSON without characters that PostgreSQL can't store, so that equal names stay equal."""
    try:
        dumped = orjson.dumps(results)
    except TypeError:  # lone surrogates, large integers, or a deep nesting
        return _dump_cleaned(clean_json(portable_json(results))[0])
    return _dump_cleaned(clean_json(results)[0]) if _NUL in dumped else dumped


def _dump_cleaned(results: Any) -> bytes:
    try:
        return orjson.dumps(results)
    except TypeError as error:
        if "UTF-8" not in str(error):
            raise
        # orjson reports a text for which it got no memory like an invalid one, which would be a defect of clean_json
        # and raises UnicodeEncodeError here.
        json.dumps(results, ensure_ascii=False).encode()
        raise MemoryError from None


def portable_json(value: Any, depth: int = 0) -> Any:
    """Return the value without parts that other JSON parsers reject, so that they affect only their own result."""
    match value:
        case dict() | list() if depth > _MAX_DEPTH:
            return None
        case dict():
            return {key: portable_json(item, depth + 1) for key, item in value.items()}
        case list():
            return [portable_json(item, depth + 1) for item in value]
        case int() if not -_INT64 <= value < _INT64:
            return str(value)
        case _:
            return value


def in_lists(results: Iterable[ResultIn]) -> Iterator[list[ResultIn]]:
    """Yield the results in lists of bounded length."""
    pending: list[ResultIn] = []
    for result in results:
        pending.append(result)
        if len(pending) >= _PER_LIST:
            yield pending
            pending = []
    yield pending


def read_chunks(path: Path) -> Iterator[bytes]:
    """Yield the JSON arrays of results in the order of the report."""
    with path.open("rb") as lines:
        yield from lines


def read_part(lines: BinaryIO, start: int, size: int) -> Iterator[bytes]:
    """Yield the JSON arrays of results in a part of an open file."""
    lines.seek(start)
    while size > 0:
        line = lines.readline()
        size -= len(line)
        yield line
