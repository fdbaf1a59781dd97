"""Exports: formats, compression, names of files, the retry schedule, and the ranges of keys that are read at once."""

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from itertools import pairwise, zip_longest
from typing import Final, Literal, NamedTuple, get_args
from uuid import UUID

from service.domain.filters import ResultFilter
from service.domain.ids import CaseKey, OrgId, RunKey
from service.exports.columns import EXPORT_COLUMNS, ColumnType, ExportContent

MAX_ATTEMPTS: Final = 3
RETRY_DELAYS: Final = (timedelta(seconds=5), timedelta(seconds=30))
FILE_RETENTION: Final = timedelta(days=7)
_UNSAFE: Final = re.compile(r"[^A-Za-z0-9._-]+")
_MAX_STEM: Final = 80
_FIRST_CASE: Final = -(2**63)
_CASE_KEYS: Final = 2**64  # case keys are hashes, evenly distributed over this number of values

ExportFormatName = Literal["csv", "json", "ndjson", "parquet"]
Compression = Literal["none", "gzip", "zstd"]
RowSource = Literal["csv", "csv_without_header", "json_lines"]
COMPRESSIONS: Final[tuple[Compression, ...]] = get_args(Compression)
COMPRESSION_SUFFIXES: Final[dict[Compression, str]] = {"none": "", "gzip": ".gz", "zstd": ".zst"}
_COMPRESSED_TYPES: Final[dict[Compression, str]] = {"gzip": "application/gzip", "zstd": "application/zstd"}


@dataclass(frozen=True, slots=True)
class ExportFormat:
    """A file format of exports.

    `source` is the form in which the store reads the rows. The store converts columns of the types `as_text` to text,
    because their database type has no equivalent in the format. A format with `compresses_pages` compresses its
    own pages, so the file has no compression suffix.
    """

    media_type: str
    source: RowSource
    as_text: frozenset[ColumnType]
    default_compression: Compression = "none"
    compresses_pages: bool = False
    neutralizes_formulas: bool = False  # unless the request sets `raw`


_AS_JSON: Final = frozenset[ColumnType]({"object", "array"})
EXPORT_FORMATS: Final[dict[ExportFormatName, ExportFormat]] = {
    "csv": ExportFormat("text/csv; charset=utf-8", "csv", _AS_JSON | {"time", "boolean"}, neutralizes_formulas=True),
    "json": ExportFormat("application/json", "json_lines", frozenset({"time"})),
    "ndjson": ExportFormat("application/x-ndjson", "json_lines", frozenset({"time"})),
    "parquet": ExportFormat(
        "application/vnd.apache.parquet", "csv_without_header", _AS_JSON, "zstd", compresses_pages=True
    ),
}


@dataclass(frozen=True, slots=True)
class FileFormat:
    """The format and compression of an export file."""

    name: ExportFormatName
    compression: Compression

    @property
    def details(self) -> ExportFormat:
        """Return the properties of the format."""
        return EXPORT_FORMATS[self.name]

    @property
    def media_type(self) -> str:
        """Return the Content-Type of the stored file."""
        if self.details.compresses_pages:
            return self.details.media_type
        return _COMPRESSED_TYPES.get(self.compression, self.details.media_type)

    @property
    def suffix(self) -> str:
        """Return the suffix of the file name, such as `.csv.gz`."""
        return f".{self.name}" + ("" if self.details.compresses_pages else COMPRESSION_SUFFIXES[self.compression])

    def file_name(self, content: str, run_id: str | None, created_at: datetime) -> str:
        """Return the suggested name of a download. It contains only letters, digits, dots, dashes, and underscores."""
        subject = run_id or f"{created_at:%Y-%m-%d}"
        return f"{content}-{_UNSAFE.sub('_', subject)[:_MAX_STEM]}{self.suffix}"


@dataclass(frozen=True, slots=True)
class ExportSpec:
    """The content and format of an export file.

    If `changed_after` is set, the file contains only runs with an event after this event number.
    """

    file_format: FileFormat
    columns: tuple[str, ...]
    raw: bool
    filter: ResultFilter
    content: ExportContent = "results"
    changed_after: int | None = None

    def is_text(self, column: str) -> bool:
        """Return whether the store converts the column to text."""
        return EXPORT_COLUMNS[self.content][column].type in self.file_format.details.as_text


@dataclass(frozen=True, slots=True)
class ExportRef:
    """The identity of an export."""

    org_id: OrgId
    export_id: str


class RangeStart(NamedTuple):
    """The newest run of a range and its number of results. A run that exceeds the range size has its own range."""

    run_key: RunKey
    results: int


class KeyRange(NamedTuple):
    """The results of several runs, or a part of the results of one run. Both ends are inclusive."""

    first_run: RunKey
    last_run: RunKey
    first_case: CaseKey = CaseKey(_FIRST_CASE)
    last_case: CaseKey = CaseKey(_FIRST_CASE + _CASE_KEYS - 1)


def split_into_ranges(first: RunKey, last: RunKey, starts: Sequence[RangeStart], max_results: int) -> list[KeyRange]:
    """Return the ranges from the last run back to the first, in list order.

    A range extends from its start to the start of the next range. A run with more than `max_results` results is split
    by case key.
    """
    if not starts:
        return [KeyRange(first, last)]
    return [
        key_range
        for start, following in zip_longest(starts, starts[1:])
        for key_range in _split_run(_next_key(following.run_key) if following else first, start, max_results)
    ]


def _split_run(first: RunKey, start: RangeStart, max_results: int) -> Iterator[KeyRange]:
    parts = -(-start.results // max_results)
    if parts <= 1:
        yield KeyRange(first, start.run_key)
        return
    edges = [_FIRST_CASE + part * _CASE_KEYS // parts for part in range(parts, -1, -1)]
    for end, start_of_part in pairwise(edges):
        yield KeyRange(start.run_key, start.run_key, CaseKey(start_of_part), CaseKey(end - 1))


def _next_key(key: RunKey) -> RunKey:
    return RunKey(UUID(int=key.int + 1))
