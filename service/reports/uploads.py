"""Decompression and conversion of the reports of one upload; runs in a child process."""

import gzip
import zlib
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import BinaryIO, Final, NamedTuple, cast

import orjson
import zstandard

from service.contracts.run_events import ArtifactIn
from service.domain import texts
from service.domain.report_formats import HEAD_BYTES, detect_format
from service.domain.reports import Encoding, ReportLimits
from service.reports.attachments import references
from service.reports.chunks import read_chunks
from service.reports.convert import ReportSummary, convert
from service.reports.errors import ReportError, malformed
from service.reports.output import OutputPart, OutputWriter
from service.reports.readers.allure_order import arrange, is_of_folder
from service.reports.report_sets import SetFile, join_files
from service.reports.summaries import combine, first_fields

_CHUNK_BYTES: Final = 256 * 1024
_GZIP: Final = b"\x1f\x8b"
_ZSTD: Final = b"\x28\xb5\x2f\xfd"
_MAX_WINDOW: Final = 128 * 2**20  # bytes; a Zstandard frame can require gigabytes
_CASE_ID: Final = b'"case_id"'
_SET_FORMAT: Final = "allure"  # has one file per result
_SET_NAME: Final = "Allure results"
_MAX_REPEATED: Final = 200_000  # results, which stay in memory until the end of the upload

NameInUpload = str | tuple[str, str]  # the case ID, or the suite and the name


class ReportFile(NamedTuple):
    """A downloaded report. The results are written to `target`. `name` is None if the upload has only one report.

    `root` is the folder of the checkout.
    """

    source: Path
    target: Path
    name: str | None
    content_type: str | None
    encoding: Encoding | None
    root: str | None = None


class ReadUpload(NamedTuple):
    """The converted reports of one upload, and the names that must be processed together.

    These are case IDs that occur more than once in a report, and names that occur in more than one report. `output` is
    the file with the output of all reports, or None if there is no output. `embedded` is the file with the files that
    the reports contain, or None. `suite_output` are the outputs of suites, and `suite_files` are the files that suites
    name.
    """

    summary: ReportSummary
    files: tuple[ReportFile, ...]
    repeated: frozenset[NameInUpload]
    output: Path | None = None
    suite_output: tuple[OutputPart, ...] = ()
    suite_files: tuple[ArtifactIn, ...] = ()
    embedded: Path | None = None


def read_upload(files: Sequence[ReportFile], limits: ReportLimits) -> ReadUpload:
    """Decompress the reports if necessary, and write their results to their targets. Deletes decompressed files.

    The output of the reports is written to one file in the folder of the first target, and the files that they contain
    to another one. The limits apply to all reports together. Raises ReportError if a report can't be read or the upload
    exceeds the limits.
    """
    path, embedded_path = (files[0].target.with_name(name) for name in ("output", "embedded"))
    files, limits, ignored = _join_set(files, limits)
    with path.open("wb") as target, embedded_path.open("wb") as embedded:
        output = OutputWriter(target, embedded)
        summary = combine(_convert_all(files, limits, output), [file.name for file in files])
    summary = replace(summary, notes=(*summary.notes, *ignored, *output.notes))
    repeated = _repeated_names([file.target for file in files])
    suite_files = tuple(references(output.attachments))
    return ReadUpload(
        summary, tuple(files), repeated, path if output.size else None, tuple(output.suites), suite_files,
        embedded_path if output.embedded.size else None,
    )  # fmt: skip


def _join_set(files: Sequence[ReportFile], limits: ReportLimits) -> tuple[list[ReportFile], ReportLimits, list[str]]:
    """Join the files of a format with one file per result. Return the reports, the remaining limits, and a note.

    The note is about other files of the same folder, which contain no results. Raises ReportError.
    """
    members: list[ReportFile] = []
    ignored: list[ReportFile] = []
    others: list[ReportFile] = []
    for file in files if len(files) > 1 else ():
        (ignored if is_of_folder(file.name or "") else members if _is_of_set(file) else others).append(file)
    if not members:
        return list(files), limits, []
    joined = members[0]._replace(
        source=members[0].target.with_name("joined"),
        name=_SET_NAME if others else None,
        content_type=None,
        encoding=None,
    )
    set_files = [SetFile(file.name or "", partial(_open, file)) for file in members]
    size = join_files(set_files, arrange, joined.source, limits.max_unpacked_bytes)
    for file in (*members, *ignored):
        file.source.unlink()
    limits = ReportLimits(limits.max_unpacked_bytes - size, limits.max_rows)
    notes = [f"files without results: {len(ignored)} were ignored, such as {ignored[0].name}"] if ignored else []
    return [joined, *others], limits, notes


def _is_of_set(file: ReportFile) -> bool:
    """Return whether the file contains a result of a format with one file per result."""
    try:
        with _open(file) as content:
            detected = detect_format(file.content_type, content.read(HEAD_BYTES))
    except ReportError:
        return False  # the conversion raises the error with the name of the file
    return detected is not None and detected.name == _SET_FORMAT


@contextmanager
def _open(file: ReportFile) -> Iterator[BinaryIO]:
    """Open the decompressed content of a report. Raises ReportError if the compressed data is invalid."""
    compression = file.encoding or _detect_compression(file.source)
    with file.source.open("rb") as source:
        if compression is None:
            yield source
            return
        with _compression_errors(compression), _decompressor(source, compression) as reader:
            yield cast("BinaryIO", reader)


def _convert_all(files: Sequence[ReportFile], limits: ReportLimits, output: OutputWriter) -> list[ReportSummary]:
    summaries: list[ReportSummary] = []
    for file in files:
        try:
            unpacked_bytes, summary = _convert(file, limits, output)
        except ReportError as error:
            message = f"{file.name}: {error}" if file.name else str(error)
            run = first_fields([*(each.run for each in summaries), error.run])
            raise ReportError(error.reason, message, run) from None
        summaries.append(summary)
        limits = ReportLimits(limits.max_unpacked_bytes - unpacked_bytes, limits.max_rows - summary.rows)
    return summaries


def _convert(file: ReportFile, limits: ReportLimits, output: OutputWriter) -> tuple[int, ReportSummary]:
    """Convert one report. Return the size of the decompressed report, or 0 if it isn't compressed, and the summary."""
    source, unpacked_bytes = file.source, 0
    if compression := file.encoding or _detect_compression(source):
        source = source.with_suffix(".decompressed")
        _decompress(file.source, source, compression, limits.max_unpacked_bytes)
        file.source.unlink()
        unpacked_bytes = source.stat().st_size
    summary = convert(source, file.target, file.content_type, limits.max_rows, output, file.root)
    source.unlink()
    return unpacked_bytes, summary


def _detect_compression(source: Path) -> Encoding | None:
    """Return the compression of a file that was sent without Content-Encoding."""
    with source.open("rb") as file:
        head = file.read(len(_ZSTD))
    if head.startswith(_GZIP):
        return "gzip"
    return "zstd" if head == _ZSTD else None


def _decompress(source: Path, target: Path, encoding: Encoding, max_bytes: int) -> None:
    size = 0
    with _compression_errors(encoding), source.open("rb") as compressed, target.open("wb") as file:
        reader = _decompressor(compressed, encoding)
        while chunk := reader.read(_CHUNK_BYTES):
            size += len(chunk)
            if size > max_bytes:
                raise ReportError("too_large", f"the report is larger than {max_bytes} bytes after decompression")
            file.write(chunk)


@contextmanager
def _compression_errors(encoding: Encoding) -> Iterator[None]:
    try:
        yield
    except (gzip.BadGzipFile, EOFError, zlib.error, zstandard.ZstdError) as error:
        raise malformed(f"the {encoding} data is invalid: {error}") from None


def _decompressor(compressed: BinaryIO, encoding: Encoding) -> gzip.GzipFile | zstandard.ZstdDecompressionReader:
    if encoding == "gzip":
        return gzip.GzipFile(fileobj=compressed)
    return zstandard.ZstdDecompressor(max_window_size=_MAX_WINDOW).stream_reader(compressed, read_across_frames=True)


def _repeated_names(targets: Sequence[Path]) -> frozenset[NameInUpload]:
    counts = _case_id_counts(targets[0]) if len(targets) == 1 else _file_counts(targets)
    repeated = {name: count for name, count in counts.items() if count > 1}
    if sum(repeated.values()) > _MAX_REPEATED:
        raise malformed(f"more than {_MAX_REPEATED} results have a case_id or a name that occurs several times")
    return frozenset(repeated)


def _case_id_counts(target: Path) -> Counter[NameInUpload]:
    """Count the results of each case ID."""
    counts: Counter[NameInUpload] = Counter()
    for chunk in read_chunks(target):
        if _CASE_ID in chunk:
            counts.update(name for name in _names(chunk) if isinstance(name, str))
    return counts


def _file_counts(targets: Iterable[Path]) -> Counter[NameInUpload]:
    """Count the reports in which each name occurs. A case ID that is repeated in one report counts twice."""
    counts: Counter[NameInUpload] = Counter()
    for target in targets:
        names: Counter[NameInUpload] = Counter()
        for chunk in read_chunks(target):
            names.update(_names(chunk))
        counts.update({name: min(count, 2) if isinstance(name, str) else 1 for name, count in names.items()})
    return counts


def _names(chunk: bytes) -> Iterable[NameInUpload]:
    return map(name_in_upload, (result for result in orjson.loads(chunk) if isinstance(result, dict)))


def name_in_upload(result: Mapping[str, object]) -> NameInUpload:
    """Return what identifies the case of a result within the upload, apart from its occurrence."""
    case_id = result.get("case_id")
    if isinstance(case_id, str):
        return case_id
    return str(result.get("suite") or "")[: texts.MAX_TEXT], str(result.get("name"))[: texts.MAX_TEXT]
