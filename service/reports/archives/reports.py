"""Reports in ZIP and TAR archives: which members are reports, and which are other files."""

from dataclasses import dataclass, field
from pathlib import Path
from typing import BinaryIO, Final, NamedTuple

from service.reports.archives.files import ArchivedFile, ignored_notes, keep, unreadable_notes
from service.reports.archives.members import MAX_MEMBERS, ArchiveMember, UnpackedBytes, read_members
from service.reports.conversion.errors import ReportError, malformed, unsupported
from service.reports.format_table import ArchiveKind, detect_archive, media_type_of
from service.reports.found_files import FoundFile, classify_file
from service.reports.model import Encoding, uncompressed_name
from service.reports.report_heads import HEAD_BYTES
from service.reports.streams.compression import (
    CHUNK_BYTES,
    INVALID,
    Readable,
    decompress,
    decompress_head,
    detect_compression,
    find_compressions,
    open_compressed,
    open_decompressed,
)

NO_REPORT: Final = "the archive contains no report"
_PACKED_HEAD_BYTES: Final = 2**18  # contains the first block of a compressed member
_SMALL_BYTES: Final = 2**18
_HIDDEN_BY_MACOS: Final = ("__MACOSX", ".DS_Store")
_LINK: Final = "is a link or a device. Add the file itself to the archive, for example with `tar --dereference`"


class FilePart(NamedTuple):
    """A part of a file."""

    start: int
    size: int


class ArchivedReport(NamedTuple):
    """A report of an archive, in a temporary file, or in a part of it. `name` is its path in the archive."""

    path: Path
    part: FilePart | None
    name: str
    content_type: str | None


@dataclass(slots=True)
class UnpackedArchive:
    """The reports and the other files of an archive in its order. `size` is the number of unpacked bytes.

    `kept` is the file with the content of the other files. `name` is None if the archive is the whole upload.
    """

    kept: Path
    name: str | None = None
    reports: list[ArchivedReport] = field(default_factory=list)
    files: list[ArchivedFile] = field(default_factory=list)
    members: int = 0
    size: int = 0


def unpack_archive(
    source: Path, stated: Encoding | None, max_bytes: int, max_members: int = MAX_MEMBERS
) -> UnpackedArchive | None:
    """Write the reports of an archive to files next to it, and delete it. Return None if the file isn't an archive.

    `stated` is the Content-Encoding. Raises ReportError, with the name of the member, if a member can't be read, if it
    is an incomplete report, or if the archive exceeds a limit.
    """
    compressions = find_compressions(source, stated)
    with open_decompressed(source, compressions) as stream:
        kind = detect_archive(_read(stream, HEAD_BYTES))
    if kind is None:
        return None
    unpacked = UnpackedBytes(source.stat().st_size, max_bytes)
    if kind == "zip" and compressions:
        packed = source.with_name(f"{source.name}.zip")
        unpacked.add(decompress(source, packed, compressions, max_bytes))
        source.unlink()
        source, compressions = packed, ()
    archive = _unpack(source, kind, compressions, unpacked, max_members)
    source.unlink()
    return archive


def _read(content: Readable, size: int) -> bytes:
    """Return `size` bytes, or fewer at the end."""
    parts: list[bytes] = []
    while size > 0 and (part := content.read(size)):
        parts.append(part)
        size -= len(part)
    return b"".join(parts)


def _unpack(
    source: Path, kind: ArchiveKind, compressions: tuple[Encoding, ...], unpacked: UnpackedBytes, max_members: int
) -> UnpackedArchive:
    archive = UnpackedArchive(source.with_name(f"{source.name}-files"))
    shared = source.with_name(f"{source.name}-reports")
    with shared.open("wb") as small_reports, archive.kept.open("wb") as kept:
        for member in read_members(source, kind, compressions, unpacked, max_members):
            archive.members += 1
            if _is_hidden(member.name):
                continue
            content = _find_content(member)
            if isinstance(content, _OtherContent):
                archive.files.append(keep(member, content.head, content.found, kept, archive.kept))
            else:
                path = source.with_name(f"{source.name}-{archive.members}")
                part = _write(content, path, small_reports, unpacked)
                archive.reports.append(
                    ArchivedReport(shared if part else path, part, member.name, content.content_type)
                )
    if not any(report.part for report in archive.reports):
        shared.unlink()
    archive.size = unpacked.count
    return archive


def _is_hidden(name: str) -> bool:
    """Return whether a member is a folder, or a file that macOS adds to archives."""
    parts = name.split("/")
    return name.endswith("/") or not set(_HIDDEN_BY_MACOS).isdisjoint(parts) or parts[-1].startswith("._")


class _OtherContent(NamedTuple):
    """The first bytes of a file that isn't a report."""

    head: bytes
    found: FoundFile


class _ReportContent:
    """The bytes of a report, of which some were read to detect its format."""

    def __init__(self, name: str, head: bytes, rest: Readable, content_type: str | None) -> None:
        self.name = name
        self.compression = detect_compression(head)
        self.content_type = content_type
        self._head = head
        self._rest = rest

    def read(self, size: int, /) -> bytes:
        """Return up to `size` bytes."""
        if not self._head:
            return self._rest.read(size)
        data, self._head = self._head[:size], self._head[size:]
        return data


def _find_content(member: ArchiveMember) -> _ReportContent | _OtherContent:
    """Return the content of a report, or the first bytes of another file. Raises ReportError."""
    name, stated = member.name, uncompressed_name(member.name)
    if member.content is None:
        if media_type_of(stated):
            raise malformed(f"{name} {_LINK}")
        return _OtherContent(b"", FoundFile("other"))
    packed = _read(member.content, HEAD_BYTES)
    if detect_compression(packed):
        packed += _read(member.content, _PACKED_HEAD_BYTES)
    head = decompress_head(packed, HEAD_BYTES)
    found = classify_file(stated, head)
    if found.role == "damaged":
        raise malformed(
            f"{name} is empty, incomplete, or damaged. Run the tests again, or remove the file from the archive"
        )
    if found.format is None:
        return _OtherContent(packed, found)
    content_type = None if found.format.is_detectable else found.format.media_types[0]
    return _ReportContent(name, packed, member.content, content_type)


def _write(content: _ReportContent, path: Path, shared: BinaryIO, unpacked: UnpackedBytes) -> FilePart | None:
    """Write a report without its compression: a small one to a part of the shared file, a large one to the path.

    To create a file takes longer than to parse a small report.
    """
    source = _DecompressedContent(content, unpacked) if content.compression else content
    data = _read(source, _SMALL_BYTES)
    if len(data) < _SMALL_BYTES:
        start = shared.tell()
        shared.write(data)
        return FilePart(start, len(data))
    with path.open("wb") as file:
        while data:
            file.write(data)
            data = source.read(CHUNK_BYTES)
    return None


class _DecompressedContent:
    """The decompressed bytes of a compressed report. Raises ReportError, with the name of the report."""

    def __init__(self, content: _ReportContent, unpacked: UnpackedBytes) -> None:
        self._name = content.name
        self._stream = open_compressed(content, content.compression or "gzip")
        self._unpacked = unpacked

    def read(self, size: int, /) -> bytes:
        """Return up to `size` bytes."""
        try:
            data = self._stream.read(size)
            self._unpacked.add(len(data))
        except INVALID as error:
            raise malformed(f"{self._name}: the compressed data is invalid: {error}") from None
        except ReportError as error:
            raise error.of_file(self._name) from None
        return data


def without_reports(archive: UnpackedArchive) -> ReportError:
    """Return the error for an archive that contains no report."""
    notes = [*unreadable_notes(archive.files), *ignored_notes(archive.files)]
    return unsupported(". ".join([NO_REPORT, *(note.removesuffix(".") for note in notes)]))
