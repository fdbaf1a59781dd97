"""Decompression and conversion of the reports of one upload; runs in a child process."""

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import replace
from functools import partial
from hashlib import blake2b
from io import BytesIO
from itertools import chain
from pathlib import Path
from typing import Any, BinaryIO, Final, NamedTuple

import orjson

from service.domain import texts
from service.ingest.contract import ArtifactIn
from service.reports.archives.files import NamedFiles, ignored_notes, unreadable_notes
from service.reports.archives.members import MAX_MEMBERS
from service.reports.archives.reports import NO_REPORT, FilePart, UnpackedArchive, unpack_archive, without_reports
from service.reports.conversion.attachments import references
from service.reports.conversion.convert import ReportSummary, append_results
from service.reports.conversion.errors import ReportError, malformed
from service.reports.conversion.names import NO_CHECKOUT, Checkout
from service.reports.conversion.output import OutputPart, OutputWriter
from service.reports.conversion.report_sets import SetFile, join_files
from service.reports.format_table import detect_format
from service.reports.formats.allure.reader import arrange
from service.reports.found_files import classify_file, is_attachment, is_of_folder
from service.reports.model import Encoding, ReportLimits
from service.reports.report_heads import HEAD_BYTES
from service.reports.streams.chunks import read_part
from service.reports.streams.compression import decompress, find_compressions, open_decompressed

_CASE_ID: Final = b'"case_id"'
_SET_FORMAT: Final = "allure"  # has one file per result
_SET_NAME: Final = "Allure results"
_MAX_REPEATED: Final = 200_000  # results, which stay in memory until the end of the upload


class ReportFile(NamedTuple):
    """A downloaded report. The results are written to `target`. `name` is None if the upload has only one report.

    `part` is the part of `source` that is a small report of an archive. After the conversion, `target` is the file with
    the results of the upload, and `start` and `size` are the part of this report.
    """

    source: Path
    target: Path
    name: str | None
    content_type: str | None
    encoding: Encoding | None
    checkout: Checkout = NO_CHECKOUT
    part: FilePart | None = None
    start: int = 0
    size: int = 0


class ReadUpload(NamedTuple):
    """The converted reports of one upload, and the keys (`key_in_upload`) of names that must be processed together.

    These are case IDs that occur more than once in a report, and names that occur in more than one report. `output` is
    the file with the output of all reports, or None if there is no output. `embedded` is the file with the files that
    the reports contain, and with the files of archives that they name, or None. `suite_output` are the outputs of
    suites, and `suite_files` are the files that suites name. `unreadable` are the reasons why reports can't be read,
    each with the name of the report: their failures are missing.
    """

    summary: ReportSummary
    files: tuple[ReportFile, ...]
    repeated: frozenset[int]
    output: Path | None = None
    suite_output: tuple[OutputPart, ...] = ()
    suite_files: tuple[ArtifactIn, ...] = ()
    embedded: Path | None = None
    unreadable: tuple[str, ...] = ()


def read_upload(files: Sequence[ReportFile], limits: ReportLimits) -> ReadUpload:
    """Decompress the reports if necessary, and write their results to the first target. Deletes decompressed files.

    The reports of an archive replace it, with names such as `results.zip/unit/junit.xml`. The output of the reports is
    written to one file in the folder of the first target, and the files that they contain, or name in their archive, to
    another one. The limits apply to all reports together. Raises ReportError if a report is damaged, if no report has a
    supported format, or if the upload exceeds the limits.
    """
    path, embedded_path = (files[0].target.with_name(name) for name in ("output", "embedded"))
    with path.open("wb") as output_file, embedded_path.open("wb") as embedded, files[0].target.open("wb") as target:
        output = OutputWriter(output_file, embedded)
        files, archives, unreadable = _unpack_archives(files, limits)
        unpacked_bytes = sum(archive.size for archive in archives)
        limits = limits._replace(max_unpacked_bytes=limits.max_unpacked_bytes - unpacked_bytes)
        shared = {file.source for file in files if file.part}
        files, limits, ignored = _join_sets(files, limits)
        used = {file.source for file in files if file.part}
        for source in shared - used:
            source.unlink()  # the disk needn't contain the joined files twice
        files, summaries, unreadable_reports = _convert_all(files, limits, output, target)
        target.flush()
        files = _embed_files(files, archives, output)
    for source in used.union(archive.kept for archive in archives):
        source.unlink()
    summary = combine(summaries, [file.name for file in files])
    summary = replace(summary, notes=(*summary.notes, *_notes(archives), *ignored, *output.notes))
    unreadable += unreadable_reports
    for archive in archives:
        unreadable += [f"{archive.name}/{note}" if archive.name else note for note in unreadable_notes(archive.files)]
    if unreadable:
        summary = replace(summary, failures_missing=True)
    repeated = _repeated_names(files)
    suite_files = tuple(references(output.attachments))
    return ReadUpload(
        summary, tuple(files), repeated, path if output.size else None, tuple(output.suites), suite_files,
        embedded_path if output.embedded.size else None, tuple(unreadable),
    )  # fmt: skip


def _unpack_archives(
    files: Sequence[ReportFile], limits: ReportLimits
) -> tuple[Sequence[ReportFile], list[UnpackedArchive], list[str]]:  # fmt: skip
    """Return the files with the reports of each archive instead of it, the archives, and those without a report.

    The second one of a name gets another name, such as `results.zip (2)`, so that their files stay separate. Raises
    ReportError if no file is a report.
    """
    reports: list[ReportFile] = []
    unreadable: list[str] = []
    archives: list[UnpackedArchive] = []
    names: Counter[str | None] = Counter()
    members = unpacked_bytes = 0
    for file in files:
        max_bytes = limits.max_unpacked_bytes - unpacked_bytes
        try:
            archive = unpack_archive(file.source, file.encoding, max_bytes, MAX_MEMBERS - members)
        except ReportError as error:
            raise error.of_file(file.name) from None
        if archive is None:
            reports.append(file)
            continue
        names[file.name] += 1
        if names[file.name] > 1:
            file = file._replace(name=f"{file.name} ({names[file.name]})")
        reports += _archived(file, archive)
        archive.name = file.name
        archives.append(archive)
        members += archive.members
        unpacked_bytes += archive.size
        if not archive.reports:
            unreadable.append(f"{file.name}: {NO_REPORT}")
    if not reports:
        raise without_reports(archives[0]).of_file(files[0].name)
    return reports, archives, unreadable


def _archived(file: ReportFile, archive: UnpackedArchive) -> Iterator[ReportFile]:
    for report in archive.reports:
        name = f"{file.name}/{report.name}" if file.name else report.name
        yield file._replace(
            source=report.path, name=name, content_type=report.content_type, encoding=None, part=report.part
        )


def _join_sets(files: Sequence[ReportFile], limits: ReportLimits) -> tuple[list[ReportFile], ReportLimits, list[str]]:
    """Join the files of each folder in a format with one file per result. Return the reports, limits, and notes.

    Two folders are two reports: of `chrome/a-result.json` and `firefox/b-result.json`, which are results of one test,
    the worse one is used. The limits are the remaining ones. The notes are about other files of these folders, which
    contain no results. Raises ReportError.
    """
    sets: dict[str, list[ReportFile]] = {}
    ignored: list[ReportFile] = []
    others: list[ReportFile] = []
    for file in files if len(files) > 1 else ():
        if is_of_folder(file.name or "") and (is_attachment(file.name or "") or not _is_report(file)):
            ignored.append(file)
        elif _is_of_set(file):
            sets.setdefault((file.name or "").replace("\\", "/").rpartition("/")[0], []).append(file)
        else:
            others.append(file)
    if not sets:
        return list(files), limits, []
    reports: list[ReportFile] = []
    for folder, members in sets.items():
        source = files[0].target.with_name(f"joined-{len(reports)}")
        size = _join(members, source, limits.max_unpacked_bytes)
        name = (folder if len(sets) > 1 else None) or (_SET_NAME if len(sets) > 1 or others else None)
        prefix = max(file.checkout.prefix for file in members)  # the same one for any order of the files
        checkout = members[0].checkout._replace(prefix=prefix)
        reports.append(ReportFile(source, files[0].target, name, None, None, checkout))
        limits = limits._replace(max_unpacked_bytes=limits.max_unpacked_bytes - size)
    for file in (*chain.from_iterable(sets.values()), *ignored):
        if not file.part:
            file.source.unlink()
    notes = [f"files without results: {len(ignored)} were ignored, such as {ignored[0].name}"] if ignored else []
    return [*reports, *others], limits, notes


def _is_report(file: ReportFile) -> bool:
    """Return whether the content is a report: `history.json` can be one of another tool."""
    head = _read_head(file)
    return head is None or classify_file("", head).role == "report"


def _read_head(file: ReportFile) -> bytes | None:
    """Return the first bytes, or None if they can't be read: the conversion raises the error with the file's name."""
    try:
        with _open(file) as content:
            return content.read(HEAD_BYTES)
    except ReportError:
        return None


@contextmanager
def _open(file: ReportFile) -> Iterator[BinaryIO]:
    """Open the decompressed content of a report. Raises ReportError if the compressed data is invalid."""
    if file.part:
        yield _read_part(file.source, file.part)
        return
    with open_decompressed(file.source, find_compressions(file.source, file.encoding)) as content:
        yield content


def _read_part(source: Path, part: FilePart) -> BytesIO:
    with source.open("rb") as file:
        file.seek(part.start)
        return BytesIO(file.read(part.size))


def _is_of_set(file: ReportFile) -> bool:
    """Return whether the file contains a result of a format with one file per result."""
    head = _read_head(file)
    detected = None if head is None else detect_format(file.content_type, head)
    return detected is not None and detected.name == _SET_FORMAT


def _join(members: Sequence[ReportFile], target: Path, max_bytes: int) -> int:
    """Write the files of a set to the target. Return the number of their bytes that weren't counted before."""
    set_files = [SetFile(file.name or "", partial(_open, file)) for file in members]
    archived = sum(file.part.size for file in members if file.part)
    return join_files(set_files, arrange, target, max_bytes + archived) - archived


def _convert_all(
    files: Sequence[ReportFile], limits: ReportLimits, output: OutputWriter, target: BinaryIO
) -> tuple[list[ReportFile], list[ReportSummary], list[str]]:  # fmt: skip
    """Convert the reports. Return those that could be read, their summaries, and why the others can't be read.

    A report in an unsupported format prevents only its own results, unless it's the only one: the others are stored as
    a run whose failures are missing. Raises ReportError for any other error.
    """
    path = files[0].target
    converted: list[ReportFile] = []
    summaries: list[ReportSummary] = []
    unreadable: list[ReportError] = []
    for file in files:
        start, mark = target.tell(), output.mark()
        try:
            source, unpacked_bytes = _decompress(file, limits.max_unpacked_bytes)
            limits = limits._replace(max_unpacked_bytes=limits.max_unpacked_bytes - unpacked_bytes)
            summary = _convert(file, source, limits.max_rows, output, target)
        except ReportError as error:
            run = first_fields([*(each.run for each in summaries), error.run])
            unreadable.append(ReportError(error.reason, str(error.of_file(file.name)), run))
            if error.reason != "unsupported_format":
                raise unreadable[0] from None
            output.rewind(mark)
            target.seek(start)
            target.truncate()
            continue
        converted.append(file._replace(target=path, start=start, size=target.tell() - start))
        summaries.append(summary)
        limits = limits._replace(max_rows=limits.max_rows - summary.rows)
    if not converted:
        raise unreadable[0]
    return converted, summaries, list(map(str, unreadable))


def _decompress(file: ReportFile, max_bytes: int) -> tuple[Path, int]:
    """Return the decompressed file, and its size, or 0 if the report isn't compressed. Deletes the compressed file."""
    compressions = () if file.part else find_compressions(file.source, file.encoding)
    if not compressions:
        return file.source, 0
    source = file.source.with_suffix(".decompressed")
    unpacked_bytes = decompress(file.source, source, compressions, max_bytes)
    file.source.unlink()
    return source, unpacked_bytes


def _convert(
    file: ReportFile, source: Path, max_rows: int, output: OutputWriter, target: BinaryIO
) -> ReportSummary:  # fmt: skip
    """Convert a decompressed report. Deletes it, unless it's a part of a file."""
    try:
        with _read_part(source, file.part) if file.part else source.open("rb") as report:
            return append_results(report, target, file.content_type, max_rows, output, file.checkout)
    finally:
        if not file.part:
            source.unlink()


def first_fields(runs: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """Return the fields of all runs. If several runs have a field, the first one wins."""
    return {name: value for run in reversed(runs) for name, value in run.items()}


def _embed_files(
    files: Sequence[ReportFile], archives: Iterable[UnpackedArchive], output: OutputWriter
) -> list[ReportFile]:  # fmt: skip
    """Write the results again with the files of the archives that they name, and return the parts of the reports."""
    named = NamedFiles()
    for archive in archives:
        named.add(archive.name, archive.files)
    with open_results(files) as results:
        found = [named.find(file.name or "", read_results(results, file)) for file in files]
    if not any(found):
        return list(files)
    path = files[0].target
    embedding = path.with_name("embedding")
    placed: list[ReportFile] = []
    with open_results(files) as results, embedding.open("wb") as target:
        for file in files:
            start = target.tell()
            target.writelines(named.embed(file.name or "", chunk, output) for chunk in read_results(results, file))
            placed.append(file._replace(start=start, size=target.tell() - start))
    embedding.replace(path)
    return placed


def open_results(files: Sequence[ReportFile]) -> BinaryIO:
    """Open the file with the results of converted reports for `read_results`."""
    return files[0].target.open("rb")


def read_results(results: BinaryIO, file: ReportFile) -> Iterator[bytes]:
    """Yield the JSON arrays of the results of a converted report."""
    return read_part(results, file.start, file.size)


def combine(summaries: Sequence[ReportSummary], names: Sequence[str | None]) -> ReportSummary:
    """Combine the summaries of all reports.

    If several reports set a field of the run, the first report wins. A note begins with the name of its report.
    """
    if len(summaries) == 1:
        return summaries[0]
    declared: Counter[str] = Counter()
    notes: list[str] = []
    for name, summary in zip(names, summaries, strict=True):
        declared.update(summary.declared)
        notes += [f"{name}: {note}" for note in summary.notes]
    return ReportSummary(
        format=summaries[0].format,
        results=sum(summary.results for summary in summaries),
        rows=sum(summary.rows for summary in summaries),
        run=first_fields([summary.run for summary in summaries]),
        times=tuple(times for summary in summaries for times in summary.times),
        declared=declared,
        notes=tuple(notes),
        failures_missing=any(summary.failures_missing for summary in summaries),
    )


def _notes(archives: Iterable[UnpackedArchive]) -> Iterator[str]:
    for archive in archives:
        yield from (f"{archive.name}: {note}" if archive.name else note for note in ignored_notes(archive.files))


def _repeated_names(files: Sequence[ReportFile]) -> frozenset[int]:
    """Return the keys of the names that must be processed together.

    The keys of 2,000,000 names need 300 MiB, and the names themselves up to 2 GiB.
    """
    counts: Counter[int] = Counter()
    with open_results(files) as results:
        for file in files:
            counts.update(_count_keys(read_results(results, file), has_others=len(files) > 1))
    repeated = {key: count for key, count in counts.items() if count > 1}
    if sum(repeated.values()) > _MAX_REPEATED:
        raise malformed(f"more than {_MAX_REPEATED} results have a case_id or a name that occurs several times")
    return frozenset(repeated)


def _count_keys(chunks: Iterable[bytes], *, has_others: bool) -> Counter[int]:
    """Count the results of each case ID in a report. A name counts once, and only if there are other reports."""
    counts: Counter[int] = Counter()
    for chunk in chunks:
        for result in orjson.loads(chunk) if has_others or _CASE_ID in chunk else ():
            if isinstance(result, dict) and isinstance(result.get("case_id"), str):
                counts[key_in_upload(result)] += 1
            elif has_others and isinstance(result, dict):
                counts[key_in_upload(result)] = 1
    return counts


def key_in_upload(result: Mapping[str, object]) -> int:
    """Return a hash of what identifies the case of a result within the upload, apart from its occurrence.

    The hash is the same in all processes. If two names have the same one, they are only processed together.
    """
    case_id = result.get("case_id")
    if isinstance(case_id, str):
        name = case_id
    else:
        name = f"{str(result.get('suite') or '')[: texts.MAX_TEXT]}\0{str(result.get('name'))[: texts.MAX_TEXT]}"
    return int.from_bytes(blake2b(name.encode(errors="surrogatepass"), digest_size=8).digest())
