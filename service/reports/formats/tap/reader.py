"""Streaming reader of TAP 12 to 14, and of the TAP in the output of `prove -v`."""

import re
from collections.abc import Iterator
from typing import BinaryIO, Final

from service.ingest.contract import ResultIn
from service.reports.conversion.errors import malformed
from service.reports.conversion.metadata import ReportMetadata
from service.reports.conversion.times import milliseconds
from service.reports.formats.tap.documents import INDENT, TapDocuments
from service.reports.formats.tap.lines import (
    BAIL_OUT,
    DECLARED_FAILURES,
    PLAN,
    RUN_DURATION,
    SUBTEST,
    VERSION,
    TestPoint,
    plain_text,
    read_point,
    unescape,
)
from service.reports.streams.chunks import in_lists
from service.reports.streams.json import read_lines

_MAX_LINE: Final = 1_000  # characters
# `t/cart.t .. `, after the time that `--timer` adds. The reason of a skip is in the same line.
_FILE: Final = re.compile(r"(?:\[[\d:]+\] )?(\S*\.t) \.{2,} ?(?:skipped: (.+))?")
# The end of a file: `ok`, `ok  12 ms`, or the reason why the file failed or was skipped.
_END: Final = re.compile(r"ok(?:\s+\d+ ms\b.*)?|skipped: .*|(Dubious, .*|Failed \d+/\d+ subtests.*|No subtests run.*)")
_RESULT: Final = re.compile(r"Result: (\w+).*")
_TRUNCATED: Final = "prove: the report has no result at its end. Files can be missing, so the run is an error"
_DIRECTIVES: Final = ("TODO ", "SKIP ")  # of tape, before the title of a test
_PRAGMA: Final = ("pragma +", "pragma -")


def read(source: BinaryIO, metadata: ReportMetadata) -> Iterator[list[ResultIn]]:
    """Yield the results in lists of bounded size. Raises ReportError if a line is too long.

    A document without all planned test points contains an error. A document without a plan damages the report too.
    """
    return in_lists(_results(source, metadata))


def _results(source: BinaryIO, metadata: ReportMetadata) -> Iterator[ResultIn]:
    reader = _TapReader(metadata)
    for line in read_lines(source):
        reader.process(line.removesuffix("\r"))
        if reader.results:
            yield from reader.take_results()
        if reader.has_stopped:
            return
    reader.finish()
    yield from reader.take_results()


class _TapReader:
    """Reads the lines of TAP."""

    def __init__(self, metadata: ReportMetadata) -> None:
        self.has_stopped = False
        self._metadata = metadata
        self._documents = TapDocuments(metadata)
        self._levels = self._documents.levels
        self.results = self._levels.results
        self._yaml_indent: int | None = None  # of the open YAML block
        self._last_comment = ""
        self._has_version = self._has_titles = self._has_headings = False
        self._prove: _ProveOutput | None = None

    def take_results(self) -> list[ResultIn]:
        """Return the results since the last call, and remove them."""
        results = self.results[:]
        self.results.clear()
        return results

    def process(self, line: str) -> None:
        """Process a line without its end."""
        text = line.lstrip(" ")
        indent = len(line) - len(text)
        text = text.rstrip()
        if self._yaml_indent is not None and self._read_yaml(line, text, indent):
            return
        start = text[:1]
        if start == "#":
            self._read_comment(text, indent)
            return
        if not indent and self._read_prove(text):
            return
        if start and self._levels.contains(indent) and self._read_tap(text, indent):
            return
        point = self._documents.point
        if text == "---" and point and indent > point.indent:
            self._yaml_indent, point.has_yaml = indent, True
        elif point and point.takes_text and not point.has_other_text and indent >= point.indent + 2:
            point.diagnostics.add_comment(line[point.indent + 2 :])  # such as the stack of Mocha
        elif text:
            self._documents.add_text(line)
            if point:
                point.has_other_text = True

    def finish(self) -> None:
        """End the report. Raises ReportError if it isn't TAP."""
        if self._prove:
            self._prove.finish()
        elif self._has_started:
            self._documents.end()
        else:
            raise malformed("the report contains no test point and no plan of TAP")

    @property
    def _has_started(self) -> bool:
        return self._has_version or self._levels.document.is_used or self._documents.count > 0

    def _read_tap(self, text: str, indent: int) -> bool:
        """Read a line of TAP that isn't a comment, and return False if it is none."""
        start, documents = text[0], self._documents
        if start in "on" and (point := read_point(text)):
            self._read_point(point, indent)
        elif start == "1" and (plan := PLAN.fullmatch(text)):
            documents.set_plan(int(plan[1]), unescape(plan[2] or ""), indent)
        elif text == "{" and documents.point:
            documents.open_block(documents.point)
        elif text == "}" and self._levels.current.opener and self._levels.current.indent == indent + INDENT:
            documents.close_block()
        elif start == "T" and not indent and VERSION.fullmatch(text):
            self._start_document()
            self._has_version = True
        elif start == "B" and BAIL_OUT.match(text):
            documents.bail_out(" ".join(text.split()))
            self.has_stopped = True
        else:
            return text.startswith(_PRAGMA)
        return True

    def _read_point(self, point: TestPoint, indent: int) -> None:
        document = self._levels.document
        if not indent and not document.points:
            # Only tape writes a version, no plan before the first test point, and no dash before its description.
            is_tape = self._has_version and document.plan is None and not (self._has_titles or point.has_dash)
            self._has_headings = is_tape
            self._documents.heading = self._last_comment if is_tape else ""
        self._documents.start_point(point, indent)

    def _read_comment(self, text: str, indent: int) -> None:
        documents = self._documents
        if subtest := SUBTEST.fullmatch(text):
            documents.set_title(plain_text(subtest[1]), indent)
            self._has_titles = True
        elif self._has_headings and not indent:
            documents.finish_point()
            documents.heading = _title_of(text)
        elif documents.point and documents.point.takes_text:
            documents.point.diagnostics.add_comment(text[1:].removeprefix(" "))
        elif not indent:
            self._last_comment = _title_of(text)
        if not indent and self._levels.document.is_complete:
            self._read_summary(text)

    def _read_summary(self, text: str) -> None:
        """Read a comment at the end of the report."""
        if declared := DECLARED_FAILURES.fullmatch(text):
            self._metadata.declares_failures = True
            self._documents.compare_failures(int(declared[1]), self._has_headings)
        if duration := RUN_DURATION.fullmatch(text):
            is_only = not self._documents.count
            self._metadata.times.set_duration(milliseconds(f"{duration[1]}e-3") if is_only else None)

    def _read_yaml(self, line: str, text: str, indent: int) -> bool:
        """Read a line of the open YAML block. Return False if the block has ended without its last line."""
        point = self._documents.point
        if point is None or (text and indent < (self._yaml_indent or 0)):
            self._yaml_indent = None
            return False
        if text == "..." and indent == self._yaml_indent:
            self._yaml_indent = None
        else:
            point.diagnostics.add_yaml(line)
        return True

    def _read_prove(self, text: str) -> bool:
        """Read a line that `prove -v` adds, and return False if it is none."""
        if self._prove:
            return self._prove.read(text)
        if self._has_started or not _starts_file(text):
            return False
        self._prove = _ProveOutput(self._documents, self._metadata)
        return self._prove.read(text)

    def _start_document(self) -> None:
        if self._has_version or self._levels.document.points:
            self._documents.end()
        elif self._levels.document.is_used:
            return  # the plan is before the version
        self._documents.start()
        self._has_version = self._has_titles = self._has_headings = False


class _ProveOutput:
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


def _title_of(comment: str) -> str:
    """Return the title in a comment of tape."""
    title = comment[1:].strip()
    return next((title.removeprefix(word) for word in _DIRECTIVES if title.startswith(word)), title)


def _starts_file(line: str) -> bool:
    """Return whether a line names the next file."""
    return len(line) < _MAX_LINE and _FILE.fullmatch(line) is not None
