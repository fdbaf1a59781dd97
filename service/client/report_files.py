"""The files of one upload: files that match patterns, reports below folders, and archives. They are sent compressed."""

import gzip
import mmap
import os
import shutil
import zipfile
import zlib
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from fnmatch import fnmatchcase
from glob import escape, glob, has_magic
from pathlib import Path
from typing import Final, NamedTuple

from service.client.http import ClientError
from service.client.terminal import print_message, printable_line
from service.reports.format_table import (
    detect_archive,
    detect_format,
    find_archive_format,
    has_usual_name,
    media_type_of,
)
from service.reports.found_files import FoundFile, classify_file
from service.reports.report_heads import HEAD_BYTES

OWNERS_FILE: Final = "owners.json.gz"  # of an upload

_MAX_PARTS: Final = 1_000  # of a form; limit of the server
_MAX_FILES: Final = 50_000  # in the archives of an upload; limit of the server
_CHUNK_BYTES: Final = 2**18
_UNKNOWN_TYPE: Final = "application/octet-stream"  # the server detects the format
_TIMESTAMP: Final = (1980, 1, 1, 0, 0, 0)  # the oldest that a ZIP file can contain
_UNIX: Final = 3  # so that the bytes are the same on every system
_GZIP: Final = b"\x1f\x8b"
_ZSTD: Final = b"\x28\xb5\x2f\xfd"
_GZIP_SUFFIX: Final = ".gz"
_ZSTD_SUFFIX: Final = ".zst"  # the standard library of Python 3.10 can't decompress it
_DEPENDENCIES: Final = "node_modules"
_NO_REPORT: Final = "not a report"
_IGNORED: Final = "excluded by --ignore"
_UNCHANGED: Final = "not written by the command"
_MAX_LISTED: Final = 20  # skipped files of one folder with one suffix and one reason
_ARCHIVE: Final = (
    "an archive without a usual name of reports, or of folders of reports. To send its reports, name it explicitly"
)
_COMPRESSED: Final = "compressed with Zstandard, and without a usual name of reports, such as junit.xml.zst"


class SentReport(NamedTuple):
    """A compressed report or assignment, or an archive. Its relative files are relative to `path_prefix`."""

    name: str
    path: Path
    content_type: str
    path_prefix: str = ""
    field: str = "report"  # of the form; `split` for an assignment


def owners_in(folder: Path) -> list[SentReport]:
    """Return the file of the form with the owners, if the folder contains one."""
    path = folder / OWNERS_FILE
    return [SentReport(OWNERS_FILE, path, "application/json", field="owners")] if path.exists() else []


class _SkippedFiles:
    """Collects the files and folders that are left out, and why."""

    def __init__(self) -> None:
        self._groups: dict[tuple[Path, str, str], list[Path]] = {}

    def add(self, path: Path, reason: str) -> None:
        """Add a file or folder. The reason is empty if the file has no relation to tests."""
        self._groups.setdefault((path.parent, path.suffix, reason or _NO_REPORT), []).append(path)

    def print(self, unreadable: Iterable[tuple[Path, str]]) -> None:
        """Print all files and their reasons on stderr. Many similar files, such as screenshots, are one line.

        `unreadable` are the files that are sent, but can't be read.
        """
        for (folder, suffix, reason), paths in self._groups.items():
            listed = paths if len(paths) <= _MAX_LISTED else [folder / f"*{suffix} ({len(paths)} files)"]
            for path in listed:
                print_message(f"skipped: {printable_line(path.as_posix())}: {reason}")
        for path, reason in unreadable:
            name, pattern = (printable_line(text) for text in (path.as_posix(), escape(path.as_posix())))
            print_message(
                f"warning: {name}: {reason.rstrip('.')}. Its failures are missing, so that gates block the run. To"
                f" leave the file out on purpose, add --ignore '{pattern}'"
            )


def select_files(patterns: Sequence[str], ignored: Sequence[str] = (), unchanged: Collection[Path] = ()) -> list[Path]:
    """Return the files of patterns and those below folders that must be reports, without duplicates.

    The files that match a pattern of `ignored` are left out, and so are `unchanged` ones, of which an earlier execution
    can be the writer. Prints each file that is left out, and why. Raises ClientError if a pattern has no match, a
    folder or the upload has no report, or a report is empty.
    """
    files: dict[Path, bool] = {}  # and whether the file was found in a folder
    for pattern in patterns:
        is_folder = Path(pattern).is_dir()
        found = _find_reports(Path(pattern), ignored, unchanged) if is_folder else _match(pattern, unchanged)
        files |= dict.fromkeys(found, is_folder)
    skipped = _SkippedFiles()
    for file in [file for file in files if _ignores(file, ignored)]:
        skipped.add(file, _IGNORED)
        del files[file]
    if not files:
        skipped.print(())
        raise ClientError("--ignore: excludes all files")
    for file in files:
        if file.stat().st_size == 0:
            raise ClientError(f"{file} is empty")
    others = [(file, reason) for file, is_found in files.items() if not is_found and (reason := _find_obstacle(file))]
    if len(others) == len(files):  # the server would reject the upload
        raise ClientError(f"{others[0][0]} can't be uploaded: {others[0][1]}. `report --help` lists the formats")
    skipped.print(others)
    if len(files) > _MAX_FILES:
        raise ClientError(f"an upload has at most {_MAX_FILES} files, but {len(files)} files match")
    return list(files)


def pack_files(files: Sequence[Path], prefixes: Mapping[Path, str], folder: Path) -> list[SentReport]:
    """Return the files of the form, with their prefixes. The temporary folder gets the compressed ones.

    The same files have the same bytes and therefore the same receipt. Archives are sent unmodified. More files than a
    form permits are one ZIP file per prefix, without files that can't be read: the server ignores other files in an
    archive.
    """
    names = dict(zip(files, _names(files), strict=True))
    zipped: dict[str, dict[Path, str]] = {}
    if len(files) > _MAX_PARTS:
        unpacked = (file for file in files if not find_archive_format(file.name))
        for file in (file for file in unpacked if _classify(file).role == "report"):
            zipped.setdefault(prefixes.get(file, ""), {})[file] = names.pop(file)
    sent = [
        _zip(group, folder / f"reports{number or ''}.zip")._replace(path_prefix=prefix)
        for number, (prefix, group) in enumerate(zipped.items())
    ]
    for number, (file, name) in enumerate(names.items()):
        prefix = prefixes.get(file, "")
        if find_archive_format(file.name):
            sent.append(SentReport(name, file, _type_of(file.name), prefix))
        else:
            path = _compress(file, folder / f"{number}.gz")
            sent.append(SentReport(f"{name}.gz", path, _type_of(file.name), prefix))
    return sent


def list_files(pattern: str) -> list[Path]:
    """Return all files that a pattern matches, or that are below the folder that it names."""
    if Path(pattern).is_dir():
        return [Path(parent, name) for parent, _, files in os.walk(pattern) for name in files]
    names = sorted(glob(pattern, recursive=True)) if has_magic(pattern) else [pattern]
    return [path for path in map(Path, names) if path.is_file()]


def _match(pattern: str, unchanged: Collection[Path]) -> list[Path]:
    found = list_files(pattern)
    matches = [path for path in found if path not in unchanged]
    if not matches:
        raise ClientError(f"{_UNCHANGED if found else 'file not found'}: {pattern}")
    return matches


def _find_obstacle(file: Path) -> str:
    """Return why the server can't read a named file: neither its name nor its content has a format. Empty if it can."""
    head = read_start(file, HEAD_BYTES)
    is_packed = find_archive_format(file.name) or detect_archive(head) or head.startswith(_ZSTD)
    if is_packed or not head or detect_format(media_type_of(file.name.removesuffix(_GZIP_SUFFIX)), head):
        return ""
    found = _classify(file)
    return found.reason or _NO_REPORT if found.role == "other" else ""


def _find_reports(folder: Path, ignored: Sequence[str], unchanged: Collection[Path]) -> list[Path]:
    """Return the files below a folder that must be reports, by their content or their name. Raises ClientError.

    A report in a format that can't be read is one of them: the server states in the run that its failures are missing.
    """
    skipped = _SkippedFiles()
    reports: list[Path] = []
    unreadable: list[tuple[Path, str]] = []
    for path in sorted(_walk(folder, ignored, skipped)):
        if path in unchanged or _ignores(path, ignored):
            skipped.add(path, _UNCHANGED if path in unchanged else _IGNORED)
            continue
        found = _classify(path)
        if found.role == "damaged":
            remedy = "Run the tests again, delete the file, or leave it out on purpose with --ignore"
            raise ClientError(f"{path} is empty, incomplete, or damaged. {remedy}")
        if found.role == "other":
            skipped.add(path, found.reason)
        else:
            reports.append(path)
        if found.role == "unreadable":
            unreadable.append((path, found.reason))
    skipped.print(unreadable)
    if len(reports) == len(unreadable):  # the server would reject the upload
        reasons = "".join(f". {path}: {reason.rstrip('.')}" for path, reason in unreadable[:1])
        raise ClientError(f"{folder} contains no test report{reasons}")
    return reports


def _walk(folder: Path, ignored: Sequence[str], skipped: _SkippedFiles) -> Iterator[Path]:
    """Yield the files below a folder, except in hidden folders and installed packages. Raises ClientError."""
    for parent, folders, files in os.walk(folder, onerror=_raise_unreadable):
        for name in folders[:]:
            path = Path(parent, name)
            reason = "hidden folder" if name.startswith(".") else "installed packages" if name == _DEPENDENCIES else ""
            reason = reason or ("link to a folder" if path.is_symlink() else "")
            if _ignores(path, ignored):
                reason = _IGNORED
            elif reason:
                reason += ". To send its reports, name it explicitly"
            if reason:
                folders.remove(name)
                skipped.add(path, reason)
        yield from (Path(parent, name) for name in files)


def _raise_unreadable(error: OSError) -> None:
    raise ClientError(f"{error.filename} can't be read: {error.strerror}")


def _classify(path: Path) -> FoundFile:
    """Return the role of a file. Raises ClientError if it can't be read."""
    if not path.is_file():
        if media_type_of(path.name):
            raise ClientError(f"{path} is a broken link, or not a file. Delete it, or add --ignore '{path}'")
        return FoundFile("other", reason="a broken link, or not a file")
    if find_archive_format(path.name):  # the server reads the reports of an archive that must contain some
        packs_reports = classify_file(path.as_posix(), read_start(path, HEAD_BYTES)).role == "unreadable"
        return FoundFile("report" if packs_reports else "other", reason=_ARCHIVE)
    if path.suffix == _ZSTD_SUFFIX:
        is_named = has_usual_name(path.as_posix().removesuffix(_ZSTD_SUFFIX))
        return FoundFile("report" if is_named else "other", reason=_COMPRESSED)
    return classify_file(path.as_posix().removesuffix(_GZIP_SUFFIX), read_start(path, HEAD_BYTES))


def read_start(path: Path, size: int) -> bytes:
    """Return the first bytes of a report, decompressed, or none if it is damaged. Raises ClientError."""
    try:
        with path.open("rb") as file:
            head = file.read(size)
        if not head.startswith(_GZIP):
            return head
        with gzip.open(path) as decompressed:
            return decompressed.read(size)
    except (gzip.BadGzipFile, EOFError, zlib.error):
        return b""
    except OSError as error:
        raise ClientError(f"{path} can't be read: {error.strerror}") from None


def contains_any(report: Path, texts: Iterable[bytes]) -> bool:
    """Return whether a report, which isn't empty, contains one of these texts."""
    with report.open("rb") as file, mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as content:
        return any(content.find(text) >= 0 for text in texts)


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


def _ignores(path: Path, patterns: Sequence[str]) -> bool:
    """Return whether a pattern matches a file, a folder that contains it, or the end of one of these paths.

    For example, `*.xml`, `legacy`, and `out/*/a.xml` match `out/legacy/a.xml`. `*` also matches `/`. The folders above
    the current one don't count: `legacy` must not match all files of a checkout in `/srv/legacy`.
    """
    if path.is_relative_to(Path.cwd()):
        path = path.relative_to(Path.cwd())
    text = f"/{path.as_posix().lstrip('/')}/"
    return any(fnmatchcase(text, f"*/{_portable(pattern)}/*") for pattern in patterns)


def _portable(pattern: str) -> str:
    """Return a pattern without the separators of Windows, and without a start or an end that matches all folders."""
    return pattern.replace("\\", "/").removeprefix("./").removeprefix("**/").strip("/")
