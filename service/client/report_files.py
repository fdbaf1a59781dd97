"""The files of one upload: those of patterns, the reports below folders, and archives; compressed for the upload."""

import gzip
import os
import shutil
import zipfile
import zlib
from collections.abc import Iterator, Sequence
from glob import glob, has_magic
from pathlib import Path
from typing import Final, NamedTuple

from service.client.http import ClientError
from service.domain.archive_formats import find_archive_format
from service.domain.report_formats import HEAD_BYTES, find_report, has_usual_name, is_damaged_report, media_type_of

_MAX_PARTS: Final = 1_000  # of a form; limit of the server
_MAX_FILES: Final = 50_000  # in the archives of an upload; limit of the server
_CHUNK_BYTES: Final = 2**18
_UNKNOWN_TYPE: Final = "application/octet-stream"  # the server detects the format
_TIMESTAMP: Final = (1980, 1, 1, 0, 0, 0)  # the oldest that a ZIP file can contain
_UNIX: Final = 3  # so that the bytes are the same on every system
_GZIP: Final = b"\x1f\x8b"
_GZIP_SUFFIX: Final = ".gz"
_ZSTD_SUFFIX: Final = ".zst"  # the standard library of Python 3.10 can't decompress it
_DEPENDENCIES: Final = "node_modules"


class SentReport(NamedTuple):
    """A compressed report, or an archive, as it is sent."""

    name: str
    path: Path
    content_type: str


def select_files(patterns: Sequence[str]) -> list[Path]:
    """Return the files of patterns and the reports below folders, without duplicates.

    Raises ClientError if a pattern has no match, a folder has no report, or a report is empty.
    """
    files: dict[Path, None] = {}
    for pattern in patterns:
        files |= dict.fromkeys(_find_reports(Path(pattern)) if Path(pattern).is_dir() else _match(pattern))
    for file in files:
        if file.stat().st_size == 0:
            raise ClientError(f"{file} is empty")
    if len(files) > _MAX_FILES:
        raise ClientError(f"an upload has at most {_MAX_FILES} files, but {len(files)} files match")
    return list(files)


def pack_files(files: Sequence[Path], folder: Path) -> list[SentReport]:
    """Return the files of the form. The temporary folder gets the compressed ones.

    The same files have the same bytes and therefore the same receipt. More files than a form permits are one ZIP file.
    Archives are sent unmodified.
    """
    names = dict(zip(files, _names(files), strict=True))
    archives = [SentReport(names[file], file, _type_of(file.name)) for file in files if find_archive_format(file.name)]
    reports = {file: name for file, name in names.items() if not find_archive_format(file.name)}
    if len(files) > _MAX_PARTS and reports:
        return [_zip(reports, folder / "reports.zip"), *archives]
    compressed = {file: _compress(file, folder / f"{number}.gz") for number, file in enumerate(reports)}
    sent = {file: SentReport(f"{names[file]}.gz", path, _type_of(file.name)) for file, path in compressed.items()}
    by_path = {archive.path: archive for archive in archives} | sent
    return [by_path[file] for file in files]


def _match(pattern: str) -> list[Path]:
    names = sorted(glob(pattern, recursive=True)) if has_magic(pattern) else [pattern]
    matches = [path for path in map(Path, names) if path.is_file()]
    if not matches:
        raise ClientError(f"file not found: {pattern}")
    return matches


def _find_reports(folder: Path) -> list[Path]:
    """Return the reports below a folder, by their content. Raises ClientError."""
    reports = [path for path in sorted(_walk(folder)) if _is_report(path)]
    if not reports:
        raise ClientError(f"{folder} contains no test report")
    return reports


def _walk(folder: Path) -> Iterator[Path]:
    """Yield the files below a folder without those of hidden folders and of installed packages."""
    for parent, folders, files in os.walk(folder):
        folders[:] = [name for name in folders if not name.startswith(".") and name != _DEPENDENCIES]
        yield from (path for path in (Path(parent, name) for name in files) if path.is_file())


def _is_report(path: Path) -> bool:
    """Return whether a file is a report. Raises ClientError if it must be one by its name, but is incomplete."""
    if path.suffix == _ZSTD_SUFFIX:
        return has_usual_name(path.as_posix().removesuffix(_ZSTD_SUFFIX))
    head = _read_head(path)
    name = path.as_posix().removesuffix(_GZIP_SUFFIX)
    if find_report(name, head):
        return True
    if is_damaged_report(name, head):
        raise ClientError(f"{path} is empty, incomplete, or damaged. Run the tests again, or delete the file")
    return False


def _read_head(path: Path) -> bytes:
    try:
        with path.open("rb") as file:
            head = file.read(HEAD_BYTES)
        if not head.startswith(_GZIP):
            return head
        with gzip.open(path) as decompressed:
            return decompressed.read(HEAD_BYTES)
    except (gzip.BadGzipFile, EOFError, zlib.error):
        return b""
    except OSError as error:
        raise ClientError(f"{path} can't be read: {error.strerror}") from None


def _names(files: Sequence[Path]) -> list[str]:
    """Return names that don't depend on the folder of the checkout: the paths below the common folder."""
    paths = files if len({file.anchor for file in files}) == 1 else [file.absolute() for file in files]
    common = os.path.commonpath([path.parent for path in paths])
    return [path.relative_to(common).as_posix() for path in paths]


def _type_of(name: str) -> str:
    archive = find_archive_format(name)
    return archive.media_type if archive else media_type_of(name) or _UNKNOWN_TYPE


def _compress(source: Path, target: Path) -> Path:
    """Compress without a timestamp."""
    with source.open("rb") as plain, target.open("wb") as file, gzip.GzipFile("", "wb", 6, file, mtime=0) as compressed:
        shutil.copyfileobj(plain, compressed, _CHUNK_BYTES)
    return target


def _zip(names: dict[Path, str], target: Path) -> SentReport:
    """Write the files to a ZIP file, without their timestamps and modes."""
    with zipfile.ZipFile(target, "w") as archive:
        for file, name in names.items():
            member = zipfile.ZipInfo(name, _TIMESTAMP)
            member.compress_type, member.create_system = zipfile.ZIP_DEFLATED, _UNIX
            with file.open("rb") as plain, archive.open(member, "w", force_zip64=True) as packed:
                shutil.copyfileobj(plain, packed, _CHUNK_BYTES)
    return SentReport(target.name, target, _type_of(target.name))
