"""The members of ZIP and TAR archives, which are data of strangers: all sizes are counted while the bytes are read.

No member is written under its name, so that no path can lead out of a folder.
"""

import gzip
import io
import re
import stat
import struct
import tarfile
import zipfile
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO, Final, NamedTuple

import zstandard

from service.reports.conversion.errors import ReportError, malformed
from service.reports.format_table import ArchiveKind
from service.reports.model import Encoding
from service.reports.streams.compression import CHUNK_BYTES, Readable, open_decompressed

MAX_MEMBERS: Final = 50_000  # 10,000 tests of Allure have up to 40,000 files
MAX_NAME: Final = 1_024  # characters
_MAX_RATIO: Final = 1_000  # unpacked bytes per packed byte
_MIN_BOMB_BYTES: Final = 64 * 2**20  # an archive with fewer unpacked bytes can have any ratio
_MAX_DIRECTORY_BYTES: Final = 16 * 2**20  # the directory of a ZIP file, which zipfile reads completely
_MAX_HEADER_BYTES: Final = 2**18  # the headers of one member of a TAR archive, which tarfile keeps in memory
_MAX_ALL_HEADER_BYTES: Final = 32 * 2**20  # of all members: their records take more CPU time than other bytes
_LOCAL_HEADER_BYTES: Final = 30
_END_BYTES: Final = 22  # the end of a ZIP file, without its comment
_IN_ZIP64: Final = 0xFFFF  # as the number of members: another structure states it
_DIRECTORY_ENTRY: Final = b"PK\x01\x02"
_ENCRYPTED: Final = 0x41  # flags of a member: encryption, strong encryption
_LONG_NUMBER: Final = re.compile(rb"[0-9]{1000}")  # tarfile before Python 3.11.10 and 3.12.6 takes minutes for it
_DRIVE: Final = re.compile(r"^[A-Za-z]:")
_DAMAGED: Final = (
    zipfile.BadZipFile, tarfile.TarError, gzip.BadGzipFile, zlib.error, zstandard.ZstdError, struct.error, EOFError,
    ArithmeticError, LookupError, RuntimeError, ValueError,
)  # fmt: skip


class ArchiveMember(NamedTuple):
    """A member of an archive. The name of a folder ends with a slash.

    `content` is None for a folder, a link, or a device. It can be read until the next member is requested, and has at
    most `size` bytes.
    """

    name: str
    content: Readable | None
    size: int = 0


class UnpackedBytes:
    """Counts the unpacked bytes of an archive, and limits them and their ratio to the packed bytes."""

    def __init__(self, packed: int, limit: int) -> None:
        self.count = 0
        self._limit = limit
        self._limit_of_ratio = max(packed * _MAX_RATIO, _MIN_BOMB_BYTES)

    def add(self, count: int) -> None:
        """Count bytes. Raises ReportError if the archive exceeds a limit."""
        self.count += count
        if self.count > self._limit:
            raise ReportError("too_large", f"the archive is larger than {self._limit} bytes after decompression")
        if self.count > self._limit_of_ratio:
            raise ReportError("too_large", f"the archive has more than {_MAX_RATIO} bytes per compressed byte")


def read_members(
    source: Path, kind: ArchiveKind, compressions: tuple[Encoding, ...], unpacked: UnpackedBytes, max_members: int
) -> Iterator[ArchiveMember]:
    """Yield the members of an archive in its order. A ZIP file has no compression of its own. Raises ReportError."""
    members = _zip_members(source, unpacked) if kind == "zip" else _tar_members(source, compressions, unpacked)
    for count, member in enumerate(members, 1):
        if count > max_members:
            raise _too_many()
        yield member


def _zip_members(source: Path, unpacked: UnpackedBytes) -> Iterator[ArchiveMember]:
    with _GuardedFile(io.FileIO(source)) as file:
        with _damage_errors():
            archive = zipfile.ZipFile(file)
            _check_count(file, archive)
            _check_overlaps(archive.infolist())
        for member in archive.infolist():
            name = _portable_name(member.filename)
            if member.is_dir():
                yield ArchiveMember(f"{name}/", None)
            elif _is_special(member):
                yield ArchiveMember(name, None)
            else:
                yield ArchiveMember(name, _MemberContent(_open(archive, member, name), unpacked), member.file_size)


class _GuardedFile(io.BufferedReader):
    """A ZIP file whose directory is limited when zipfile reads it at once, before there is an object per entry."""

    def read(self, size: int | None = -1, /) -> bytes:
        """Return the bytes. Raises ReportError. The zipfile of Python 3.11 reads the end of the file without a size."""
        largest = _MAX_DIRECTORY_BYTES + 1
        data = super().read(largest if size is None or size < 0 else min(size, largest))
        if len(data) == largest:
            raise ReportError("too_large", f"the directory of the archive is larger than {_MAX_DIRECTORY_BYTES} bytes")
        if data.count(_DIRECTORY_ENTRY) > MAX_MEMBERS:
            raise _too_many()
        return data


def _too_many() -> ReportError:
    return ReportError("too_large", f"the archives of an upload have at most {MAX_MEMBERS} files and folders")


@contextmanager
def _damage_errors() -> Iterator[None]:
    """Convert the errors of damaged archives, of which the libraries raise many."""
    try:
        yield
    except _DAMAGED as error:
        raise malformed(f"the archive is damaged: {error or type(error).__name__}") from None


def _check_count(file: BinaryIO, archive: zipfile.ZipFile) -> None:
    """Raise ReportError if the end of a ZIP file states another number of members than its directory contains."""
    file.seek(-(_END_BYTES + len(archive.comment)), io.SEEK_END)
    stated: int = struct.unpack_from("<H", file.read(_END_BYTES), 10)[0]
    if stated not in (len(archive.infolist()), _IN_ZIP64):
        raise malformed(f"the archive is damaged: it states {stated} files, but contains {len(archive.infolist())}")


def _check_overlaps(members: list[zipfile.ZipInfo]) -> None:
    """Raise ReportError if the bytes of two members overlap, as in a ZIP file that was built to expand."""
    end = 0
    for member in sorted(members, key=lambda each: each.header_offset):
        if member.header_offset < end:
            raise malformed(f"the archive is damaged: {_portable_name(member.filename)} overlaps another file")
        end = member.header_offset + _LOCAL_HEADER_BYTES + member.compress_size


def _portable_name(name: str) -> str:
    """Return the path in the archive without `..`, drives, and characters that can't be printed."""
    parts = _DRIVE.sub("", name.replace("\\", "/")).split("/")
    path = "/".join(part for part in parts if part not in ("", ".", ".."))
    if len(path) > MAX_NAME:
        raise malformed(f"{path[:100]}…: the name in the archive is longer than {MAX_NAME} characters")
    return "".join(character if character.isprintable() else "\N{REPLACEMENT CHARACTER}" for character in path) or "?"


def _is_special(member: zipfile.ZipInfo) -> bool:
    """Return whether a member is a link or a device. The mode is 0 if the archive doesn't state it."""
    mode = member.external_attr >> 16
    return bool(stat.S_IFMT(mode)) and not stat.S_ISREG(mode)


class _MemberContent:
    """The content of a member. `unpacked` counts its bytes, unless they are counted elsewhere."""

    def __init__(self, content: Readable, unpacked: UnpackedBytes | None = None) -> None:
        self._content = content
        self._unpacked = unpacked

    def read(self, size: int, /) -> bytes:
        """Return up to `size` bytes. Raises ReportError if the archive is damaged or exceeds a limit."""
        with _damage_errors():
            data = self._content.read(size)
        if self._unpacked:
            self._unpacked.add(len(data))
        return data


def _open(archive: zipfile.ZipFile, member: zipfile.ZipInfo, name: str) -> Readable:
    if member.flag_bits & _ENCRYPTED:
        raise malformed(f"{name} is encrypted. Send an archive without a password")
    if member.compress_type not in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED):
        raise malformed(f"{name} has an unsupported compression. Create the archive with the method Deflate")
    with _damage_errors():
        return archive.open(member)


def _tar_members(source: Path, compressions: tuple[Encoding, ...], unpacked: UnpackedBytes) -> Iterator[ArchiveMember]:
    with open_decompressed(source, compressions) as decompressed:
        stream = _TarStream(decompressed, unpacked)
        for member, content in _tar_contents(stream):
            name = _portable_name(member.name)
            if member.issparse():
                raise malformed(f"{name} is a sparse file. Create the archive without `--sparse`")
            yield ArchiveMember(f"{name}/" if member.isdir() else name, content, member.size)


class _TarStream:
    """The decompressed bytes of a TAR archive, for tarfile, which reads them once from start to end here.

    `header_left` limits the bytes of the headers that tarfile reads before it returns a member. `last` are the bytes
    that were read last.
    """

    def __init__(self, stream: BinaryIO, unpacked: UnpackedBytes) -> None:
        self.header_left: int | None = None
        self.last = b""
        self._all_headers_left = _MAX_ALL_HEADER_BYTES
        self._stream = stream
        self._unpacked = unpacked
        self._position = 0

    def read(self, size: int, /) -> bytes:
        """Return `size` bytes, or fewer at the end."""
        if self.header_left is not None:
            self.header_left -= size
            self._all_headers_left -= size
            if size < 0 or self.header_left < 0:
                raise malformed(f"the headers of a file in the archive are larger than {_MAX_HEADER_BYTES} bytes")
            if self._all_headers_left < 0:
                raise ReportError("too_large", f"the headers of the archive exceed {_MAX_ALL_HEADER_BYTES} bytes")
        self.last = self._read(size)
        if self.header_left is not None and _LONG_NUMBER.search(self.last):
            raise malformed("the archive is damaged: a header contains a number with 1,000 digits")
        return self.last

    def seek(self, position: int, /) -> int:
        """Skip the bytes before the position."""
        if position < self._position:
            raise malformed("the archive is damaged: its files overlap")
        while self._position < position and self._read(min(position - self._position, CHUNK_BYTES)):
            pass
        return self._position

    def skip_rest(self) -> None:
        """Read to the end, where the checksum of the compressed data is."""
        while self._read(CHUNK_BYTES):
            pass

    def tell(self) -> int:
        """Return the position."""
        return self._position

    def _read(self, size: int) -> bytes:
        parts: list[bytes] = []
        while size > 0 and (part := self._stream.read(size)):
            parts.append(part)
            size -= len(part)
            self._position += len(part)
            self._unpacked.add(len(part))
        return b"".join(parts)


def _tar_contents(stream: _TarStream) -> Iterator[tuple[tarfile.TarInfo, Readable | None]]:
    """Yield each member, with its content if it's a file. Raises ReportError if the end is missing.

    tarfile mistakes a damaged header for the end of the archive.
    """
    archive: tarfile.TarFile | None = None
    while True:
        stream.header_left = _MAX_HEADER_BYTES
        with _damage_errors():
            if archive is None:
                archive = tarfile.TarFile(fileobj=stream, encoding="utf-8", errors="replace")  # type: ignore[arg-type]
            member = archive.next()
            content = archive.extractfile(member) if member and member.isreg() else None
        stream.header_left = None
        if member is None:
            break
        yield member, _MemberContent(content) if content else None
        archive.members.clear()  # type: ignore[attr-defined] # tarfile keeps all members with their headers
        archive.pax_headers = {}
    if stream.last != bytes(tarfile.BLOCKSIZE):
        raise malformed("the archive is damaged or incomplete: its end is missing")
    with _damage_errors():
        stream.skip_rest()
