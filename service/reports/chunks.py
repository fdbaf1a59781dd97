"""The file between a parser and the ingest: each line is a JSON array of results, of bounded size."""

from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO, Final

import orjson

from service.contracts.run_events import ResultIn
from service.domain.texts import replace_unstorable
from service.reports.errors import malformed

_MAX_RESULTS: Final = 2_000  # of one line
_MAX_BYTES: Final = 2 * 2**20  # of one line, unless a single result is larger
_MAX_FILE_BYTES: Final = 4 * 2**30  # a report of the allowed size can't grow to that, but by design


class ChunkWriter:
    """Writes results to a file, and counts them."""

    def __init__(self, target: BinaryIO) -> None:
        self.results = 0
        self._target = target
        self._line: list[bytes] = []
        self._line_results = self._line_bytes = self._file_bytes = 0

    def add(self, results: list[ResultIn]) -> None:
        """Adds these results, some of them perhaps to the line that the last ones went to."""
        for start in range(0, len(results), _MAX_RESULTS):
            self._append(results[start : start + _MAX_RESULTS])

    def finish(self) -> None:
        """Writes what is not yet written."""
        if self._line:
            self._target.write(b"[" + b",".join(self._line) + b"]\n")
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
        self._file_bytes += len(dumped)
        self._line.append(dumped)
        if self._file_bytes > _MAX_FILE_BYTES:
            raise malformed(f"the report unfolds to more than {_MAX_FILE_BYTES} bytes")


def read_chunks(path: Path) -> Iterator[bytes]:
    """The JSON arrays of results, in the order of the report; indexes go on from one to the next."""
    with path.open("rb") as lines:
        yield from lines


def _dump(results: list[ResultIn]) -> bytes:
    try:
        return orjson.dumps(results)
    except TypeError:  # lone surrogates
        return orjson.dumps(replace_unstorable(results))
