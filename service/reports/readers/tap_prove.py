"""The output of `prove -v`, which contains the TAP of each file after a line with its name."""

import re
from typing import Final

from service.reports.metadata import ReportMetadata
from service.reports.readers.tap_documents import TapDocuments
from service.reports.readers.tap_lines import plain_text

_MAX_LINE: Final = 1_000  # characters
# `t/cart.t .. `, after the time that `--timer` adds. The reason of a skip is in the same line.
_FILE: Final = re.compile(r"(?:\[[\d:]+\] )?(\S*\.t) \.{2,} ?(?:skipped: (.+))?")
# The end of a file: `ok`, `ok  12 ms`, or the reason why the file failed or was skipped.
_END: Final = re.compile(r"ok(?:\s+\d+ ms\b.*)?|skipped: .*|(Dubious, .*|Failed \d+/\d+ subtests.*|No subtests run.*)")
_RESULT: Final = re.compile(r"Result: (\w+).*")
_TRUNCATED: Final = "prove: the report has no result at its end. Files can be missing, so the run is an error"


def starts_file(line: str) -> bool:
    """Return whether a line names the next file."""
    return len(line) < _MAX_LINE and _FILE.fullmatch(line) is not None


class ProveOutput:
    """Reads the lines that `prove -v` adds to TAP."""

    def __init__(self, documents: TapDocuments, metadata: ReportMetadata) -> None:
        self._documents = documents
        self._metadata = metadata
        self._is_between_files = True
        self._has_result = False

    def read(self, line: str) -> bool:
        """Read a line without indentation, and return False if it belongs to the TAP of a file."""
        if len(line) >= _MAX_LINE:
            return self._is_between_files
        if file := _FILE.fullmatch(line):
            self._start_file(plain_text(file[1]), file[2])
            return True
        if self._is_between_files:
            self._read_result(line)
        elif end := _END.fullmatch(line):
            self._end_file(end[1])
        return self._is_between_files

    def finish(self) -> None:
        """End the report. It's damaged if the result at its end is missing."""
        if not self._is_between_files:
            self._documents.end()
        if not self._has_result:
            self._metadata.is_damaged = True
            self._metadata.notes.append(_TRUNCATED)

    def _start_file(self, file: str, skip_reason: str | None) -> None:
        if not self._is_between_files:
            self._documents.end()
        self._is_between_files = False
        self._documents.start(file)
        if skip_reason:
            self._documents.set_plan(0, skip_reason, 0)
            self._end_file(None)

    def _end_file(self, failure: str | None) -> None:
        """End the document of a file. Add its failure if no result of it failed."""
        self._documents.end()
        self._is_between_files = True
        if failure and not self._documents.levels.document.has_failures:
            self._documents.add_error(failure)

    def _read_result(self, line: str) -> None:
        if result := _RESULT.fullmatch(line):
            self._has_result = True
            self._metadata.declares_failures |= result[1] != "PASS"
