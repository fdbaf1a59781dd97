"""Bulk exports: what can be asked for, and what follows from it."""

import re
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Final, Literal, get_args

from service.domain.filters import ResultFilter
from service.domain.ids import OrgId

Format = Literal["csv", "json", "ndjson", "parquet"]
Compression = Literal["none", "gzip", "zstd"]
Column = Literal[
    "id", "run_id", "project_id", "environment", "branch", "commit_sha", "ci_url", "labels", "case", "case_id", "suite",
    "name", "file", "status", "flaky", "attempts", "duration_ms", "started_at", "completed_at", "failure_summary",
]  # fmt: skip

FORMATS: Final[tuple[Format, ...]] = get_args(Format)
COMPRESSIONS: Final[tuple[Compression, ...]] = get_args(Compression)
COLUMNS: Final[tuple[Column, ...]] = get_args(Column)

MAX_TRIES: Final = 3
RETRY_WAITS: Final = (timedelta(seconds=5), timedelta(seconds=30))
KEPT: Final = timedelta(days=7)

_CONTENT_TYPES: Final[dict[Format, str]] = {
    "csv": "text/csv; charset=utf-8",
    "json": "application/json",
    "ndjson": "application/x-ndjson",
    "parquet": "application/vnd.apache.parquet",
}
_PACKED_TYPES: Final[dict[Compression, str]] = {"gzip": "application/gzip", "zstd": "application/zstd"}
_SUFFIXES: Final[dict[Compression, str]] = {"none": "", "gzip": ".gz", "zstd": ".zst"}
_UNPLAIN: Final = re.compile(r"[^A-Za-z0-9._-]+")
_MAX_STEM: Final = 80


@dataclass(frozen=True, slots=True)
class ExportOrder:
    """What a job has to deliver. Parquet compresses its pages instead of the file."""

    format: Format
    compression: Compression
    columns: tuple[Column, ...]
    raw: bool
    filter: ResultFilter

    @property
    def content_type(self) -> str:
        """Of the file as it is stored, which is what a download sends."""
        if self.format == "parquet":
            return _CONTENT_TYPES["parquet"]
        return _PACKED_TYPES.get(self.compression, _CONTENT_TYPES[self.format])

    @property
    def suffix(self) -> str:
        """What the name of the file ends with."""
        return f".{self.format}" + ("" if self.format == "parquet" else _SUFFIXES[self.compression])

    def file_name(self, created_at: datetime) -> str:
        """The name that a download suggests, of letters, digits, dots and dashes."""
        wanted = self.filter.run_id or f"{created_at:%Y-%m-%d}"
        return f"results-{_UNPLAIN.sub('_', wanted)[:_MAX_STEM]}{self.suffix}"


@dataclass(frozen=True, slots=True)
class ExportAddress:
    """Which job is meant."""

    org_id: OrgId
    export_id: str
