"""One report in, its results out as a file: the work of a pool's child, which gets paths only."""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any, BinaryIO, Final

from service.contracts.run_events import ResultIn
from service.reports import json_reports, junit
from service.reports.chunks import ChunkWriter
from service.reports.formats import HEAD_BYTES, Syntax, detect
from service.reports.metadata import ReportFormatName, ReportMetadata

Reader = Callable[[BinaryIO, ReportMetadata], Iterator[list[ResultIn]]]

_READERS: Final[dict[Syntax, Reader]] = {"xml": junit.read, "json": json_reports.read}


@dataclass(frozen=True, slots=True)
class ReportSummary:
    """What a report held. `run` has fields of RunIn as the report gives them, not validated."""

    format: ReportFormatName
    results: int
    run: Mapping[str, Any]
    started_at: datetime | None
    completed_at: datetime | None
    declared: Mapping[str, int]
    notes: tuple[str, ...]


def convert(source: Path, target: Path, content_type: str | None = None) -> ReportSummary:
    """Writes the report's results to `target` (see chunks.py), in memory that does not grow with it.

    Raises ReportError, and leaves no target, where the report can't be read to its end: never half a run.
    """
    said = ReportMetadata()
    try:
        with source.open("rb") as report, target.open("wb") as file:
            writer = ChunkWriter(file)
            for results in _reader_of(report, content_type)(report, said):
                writer.add(results)
            writer.finish()
    except BaseException:
        target.unlink(missing_ok=True)
        raise
    return ReportSummary(
        format=said.format,
        results=writer.results,
        run=said.run,
        started_at=said.started_at,
        completed_at=said.completed_at,
        declared=said.declared,
        notes=tuple(said.notes),
    )


def _reader_of(report: BinaryIO, content_type: str | None) -> Reader:
    syntax = detect(content_type, report.read(HEAD_BYTES))
    report.seek(0)
    return _READERS[syntax]
