"""The upload of the files that a report names, such as screenshots, and of files that the user selects.

The server reads the reports: it lists the files that they name, each with its result. The client uploads those that
exist on this machine and that the server doesn't have. A repeated command therefore uploads only what is missing.
"""

import mmap
import os
import re
import threading
from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor, as_completed
from glob import escape, glob, has_magic
from hashlib import sha256
from itertools import chain, takewhile
from mimetypes import guess_type
from pathlib import Path, PurePosixPath
from typing import Final, NamedTuple
from urllib.parse import quote, unquote, urlsplit

from service.client.checkout import find_checkout
from service.client.http import ClientError, JsonObject, Server, ServerError, TemporaryFailure, read_json, read_list
from service.client.report_files import contains_any
from service.client.runs import await_receipt, run_path
from service.client.terminal import print_message, printable_line, show_progress
from service.command_line import print_line
from service.receipts.model import is_unfinished
from service.reports.format_table import REPORT_FORMATS

MAX_FILES: Final = 5_000  # of one upload
MAX_BYTES: Final = 4 * 2**30

_DRIVE: Final = re.compile(r"^[A-Za-z]:/")
_SECRET_STARTS: Final = (".", "gha-creds-")  # GitHub's action of Google writes credentials into the checkout
_MIN_PARTS: Final = 2  # of a path that replaces an absolute path of another machine
_NOT_FOUND: Final = "not found"
_OUTSIDE: Final = "outside of the checkout and of the folder of the report"
_LINK: Final = "a link to a file in another folder"
_HIDDEN: Final = "hidden files and credentials aren't uploaded"
_AMBIGUOUS: Final = "several reports name this path, each relative to its own folder"
_NAMES_FILE: Final = re.compile(b"|".join(each.file_reference for each in REPORT_FORMATS if each.file_reference))
_PAGE: Final = 1_000
_THREADS: Final = 4
_CHUNK_BYTES: Final = 2**18
_MAX_SHOWN: Final = 20  # files that aren't uploaded
_UNKNOWN_TYPE: Final = "application/octet-stream"
_REPEAT: Final = "Run the same command again to upload the rest"


class AttachmentOptions(NamedTuple):
    """What to upload after a report: the files that it names, and files of the run that match the patterns.

    `wait_s` limits the wait until the report is processed.
    """

    patterns: Sequence[str] = ()
    wait_s: float = 600
    folder: str = ""  # before the names of the files of the patterns
    named: bool = True


def select(
    patterns: Sequence[str], fields: Sequence[tuple[str, str]], wait_s: float, *, named: bool
) -> AttachmentOptions | None:
    """Return what the command uploads, or None for nothing. The fields of the upload state the part of the run.

    The names of files of the run begin with the part, so that `coverage.html` of two jobs can be distinguished.
    """
    names = ("part", "variant", "shard")
    folder = "-".join(value.replace("/", "-of-") for name, value in fields if name in names)
    return AttachmentOptions(patterns, wait_s, folder, named) if patterns or named else None


def upload_attachments(
    server: Server, run_id: str, receipt: JsonObject, reports: Sequence[Path], options: AttachmentOptions
) -> None:
    """Upload the files that the reports name and that match the patterns. Print warnings for missing files.

    Raises nothing if the server rejects a file or doesn't respond, because the report is stored.
    """
    if not options.patterns and not (options.named and any(map(names_files, reports))):
        return
    try:
        receipt = await_receipt(server, receipt, options.wait_s)
        if is_unfinished(receipt):
            _warn(f"the report isn't processed after {options.wait_s:g} s. {_REPEAT}")
        elif receipt["status"] != "rejected":
            _Upload(server, run_id, receipt["id"]).run(reports, options)
    except ClientError as error:
        _warn(f"{error}. {_REPEAT}")


def names_files(report: Path) -> bool:
    """Return whether a report probably names files. A report without any isn't processed before the command ends."""
    try:
        with report.open("rb") as file, mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as content:
            return _NAMES_FILE.search(content) is not None
    except (OSError, ValueError):  # it was deleted or emptied after its upload: the server states what it names
        return True


class _File(NamedTuple):
    """A file to upload. `params` attribute it to its result, or only to the receipt if it belongs to the run."""

    path: Path
    name: str
    content_type: str
    params: dict[str, str]
    size: int


class _Skipped(NamedTuple):
    """A file that isn't uploaded, and the reason."""

    name: str
    reason: str


class _Upload:
    """The upload of the files of one report."""

    def __init__(self, server: Server, run_id: str, receipt_id: str) -> None:
        self._server = server
        self._path = f"{run_path(run_id)}/artifacts"
        self._receipt_id = receipt_id
        self._skipped: list[_Skipped] = []
        self._stopped = threading.Event()

    def run(self, reports: Sequence[Path], options: AttachmentOptions) -> None:
        """Upload the missing files, and print their number and the files that are skipped. Raises ServerError."""
        listed = self._list()
        named = self._find(listed, LocalFiles(reports)) if options.named else ()
        files = [*named, *self._attach(listed, options)]
        self._send(list(self._limit(files)))
        for skipped in self._skipped[:_MAX_SHOWN]:
            _warn(f"{skipped.name}: {skipped.reason}")
        if len(self._skipped) > _MAX_SHOWN:
            _warn(f"and {len(self._skipped) - _MAX_SHOWN} more files aren't uploaded")

    def _list(self) -> list[JsonObject]:
        """Return the files that the report names, and those that were uploaded with its receipt."""
        return read_list(self._server, self._path, {"receipt_id": self._receipt_id, "limit": str(_PAGE)})

    def _find(self, listed: Iterable[JsonObject], local: "LocalFiles") -> Iterator[_File]:
        """Yield the files that the report names and that the server doesn't have."""
        for artifact in listed:
            uri = artifact["uri"]
            if uri is None or artifact["url"] is not None or is_external(uri):
                continue
            found = local.find(uri)
            if found.path is None:
                self._skipped.append(_Skipped(uri, found.reason))
                continue
            owner = {} if artifact["case"] is None else {"case": artifact["case"]}
            yield from self._file(found.path, artifact["name"], artifact["content_type"], owner)

    def _attach(self, listed: Iterable[JsonObject], options: AttachmentOptions) -> Iterator[_File]:
        """Yield the files of the patterns that the server doesn't have. Their names are paths."""
        known = {artifact["name"]: artifact["sha256"] for artifact in listed if artifact["case"] is None}
        paths: dict[Path, None] = {}
        for pattern in options.patterns:
            matches = dict(find_matches(pattern))
            if not matches:
                self._skipped.append(_Skipped(pattern, "no file matches --attach"))
            self._skipped += [_Skipped(str(path), reason) for path, reason in matches.items() if reason]
            paths |= dict.fromkeys(path for path, reason in matches.items() if not reason)
        for path in paths:
            name = f"{options.folder}/{_name(path)}" if options.folder else _name(path)
            yield from self._file(path, name, None, {}, known.get(name))

    def _file(
        self, path: Path, name: str, content_type: str | None, owner: dict[str, str], stored: str | None = None
    ) -> Iterator[_File]:
        """Yield the file, unless the server has stored these bytes with the digest `stored`, or it can't be read."""
        try:
            size, is_stored = path.stat().st_size, stored is not None and stored == _digest(path)
        except OSError as error:
            self._skip_unreadable(path, error)
            return
        if not is_stored:
            media_type = content_type or guess_type(path.name)[0] or _UNKNOWN_TYPE
            yield _File(path, name, media_type, {**owner, "receipt_id": self._receipt_id}, size)

    def _skip_unreadable(self, path: Path, error: OSError) -> None:
        self._skipped.append(_Skipped(str(path), f"can't be read: {error.strerror}"))

    def _limit(self, files: Iterable[_File]) -> Iterator[_File]:
        count = size = 0
        for file in files:
            count, size = count + 1, size + file.size
            if count > MAX_FILES:
                self._skipped.append(_Skipped(str(file.path), f"at most {MAX_FILES} files of a report are uploaded"))
            elif size > MAX_BYTES:
                size -= file.size
                reason = f"at most {MAX_BYTES // 2**30} GiB of a report are uploaded"
                self._skipped.append(_Skipped(str(file.path), reason))
            else:
                yield file

    def _send(self, files: Sequence[_File]) -> None:
        """Upload the files concurrently. Raises ServerError if the server doesn't accept further files."""
        if not files:
            return
        sent: list[_File] = []
        try:
            with (
                show_progress(f"{len(files)} attachments", sum(file.size for file in files)) as progress,
                ThreadPoolExecutor(_THREADS) as threads,
            ):
                futures = {threads.submit(self._put, file): file for file in files}
                try:
                    for future in as_completed(futures):
                        progress.advance(futures[future].size)
                        sent += [futures[future]] if future.result() else []
                finally:
                    self._stopped.set()  # before the end of the threads
        finally:
            size = sum(file.size for file in sent)
            print_line(f"attachments: {len(sent)} of {len(files)} files uploaded, {size} bytes")

    def _put(self, file: _File) -> bool:
        """Upload one file. Return False if it is skipped. Raises ServerError if further files would be rejected too."""
        if self._stopped.is_set():
            return False
        try:
            self._put_bytes(file)
        except (TemporaryFailure, ServerError) as error:
            if isinstance(error, TemporaryFailure) or error.status in (401, 403):
                self._stopped.set()
                raise
            self._skipped.append(_Skipped(str(file.path), str(error)))
            return False
        except OSError as error:
            self._skip_unreadable(file.path, error)
            return False
        return True

    def _put_bytes(self, file: _File) -> None:
        headers = {"Content-Length": str(file.size), "Content-Type": file.content_type}
        path, params = f"{self._path}/{quote(file.name, safe='')}", {**file.params, "sha256": _digest(file.path)}
        with self._server.open("PUT", path, params=params, headers=headers, content=_Body(file)) as response:
            read_json(response)


class _Body:
    """The bytes of a file. A retry reads them again from the start."""

    def __init__(self, file: _File) -> None:
        self._file = file

    def __iter__(self) -> Iterator[bytes]:
        remaining = self._file.size
        with self._file.path.open("rb") as opened:
            while remaining and (chunk := opened.read(min(_CHUNK_BYTES, remaining))):
                remaining -= len(chunk)
                yield chunk
        if remaining:
            raise OSError(0, "the file has become shorter")


def _name(path: Path) -> str:
    """Return the path below the working directory, or the name of another file."""
    absolute, folder = Path(os.path.abspath(path)), Path.cwd()  # os.path.relpath raises ValueError for another drive
    return absolute.relative_to(folder).as_posix() if folder in absolute.parents else path.name


def _digest(path: Path) -> str:
    digest = sha256()
    with path.open("rb") as file:
        while chunk := file.read(_CHUNK_BYTES):
            digest.update(chunk)
    return digest.hexdigest()


def _warn(text: str) -> None:
    print_message(f"warning: attachments: {printable_line(text)}")


def find_matches(pattern: str) -> Iterator[tuple[Path, str]]:
    """Yield the files of a pattern of the user, each with the reason why it isn't selected, or an empty text.

    A test can create links, so a link doesn't lead out of the checkout, or out of the folder that the pattern states.
    """
    parts = Path(pattern).parts
    stated = Path(*takewhile(lambda part: not has_magic(part), parts[:-1]))
    folder = stated if stated.is_absolute() or ".." in parts else find_checkout()
    for name in sorted(glob(pattern, recursive=True)):
        path = Path(name)
        if path.is_file():
            yield path, "" if folder.resolve() in path.resolve().parents else _LINK


def is_external(uri: str) -> bool:
    """Return whether a URI is a file on another machine."""
    return "://" in uri and not uri.lower().startswith("file://")


class LocalFile(NamedTuple):
    """A file that a report names, or the reason why it isn't selected."""

    path: Path | None
    reason: str = ""


class LocalFiles:
    """Finds the files that these reports name."""

    def __init__(self, reports: Sequence[Path]) -> None:
        self._reports = [(report, report.resolve().parent) for report in reports]
        self._folders = list(dict.fromkeys(folder for _, folder in self._reports))
        self._roots = list(dict.fromkeys([Path.cwd(), find_checkout()]))
        self._allowed = [folder for folder in (*self._folders, *self._roots) if _is_specific(folder)]

    def find(self, uri: str) -> LocalFile:
        """Return the file of a path or of a `file:` URL in a report. An invalid one names no file."""
        try:
            return self._find(uri)
        except (OSError, ValueError):  # for example a NUL character, or a name that is too long
            return LocalFile(None, _NOT_FOUND)

    def _find(self, uri: str) -> LocalFile:
        path = _to_path(uri)
        if path.is_absolute() or _DRIVE.match(path.as_posix()):
            return self._first(self._absolute(path))
        folders = self._folders_of(path)
        in_reports = {file for folder in folders if (file := self._check(folder / path).path)}
        if in_reports and len(folders) > 1:
            return LocalFile(None, _AMBIGUOUS)
        in_folders = (folder / path for folder in (*folders, *self._roots))
        return self._first(chain(in_folders, self._deployed(folders, path)))

    def _first(self, candidates: Iterator[Path]) -> LocalFile:
        """Return the first file that is selected, or the reason of the first one that exists."""
        reason = ""
        for candidate in candidates:
            found = self._check(candidate)
            if found.path:
                return found
            if found.reason != _NOT_FOUND:
                reason = reason or found.reason
        return LocalFile(None, reason or _NOT_FOUND)

    def _check(self, candidate: Path) -> LocalFile:
        try:
            path = candidate.resolve(strict=True)
            is_file = path.is_file()
        except (OSError, RuntimeError, ValueError):  # also a loop of links, or a NUL character
            return LocalFile(None, _NOT_FOUND)
        if not is_file:
            return LocalFile(None, _NOT_FOUND)
        relative = [path.relative_to(folder) for folder in self._allowed if folder in path.parents]
        if not relative:
            return LocalFile(None, _OUTSIDE)
        # A checkout can be in a hidden folder, so only the shortest path counts.
        shortest = min(relative, key=lambda each: len(each.parts))
        return LocalFile(None, _HIDDEN) if _is_hidden(shortest) else LocalFile(path)

    def _absolute(self, path: PurePosixPath) -> Iterator[Path]:
        """Yield the path, and its ends below the known folders, because the tests can run in a container."""
        yield Path(path)
        parts = path.parts[1:]
        for start in range(len(parts) - _MIN_PARTS + 1):
            yield from (folder.joinpath(*parts[start:]) for folder in dict.fromkeys((*self._roots, *self._folders)))

    def _deployed(self, folders: Sequence[Path], path: PurePosixPath) -> Iterator[Path]:
        """Yield the file in the only folder of results of a TRX report that contains it."""
        if ".." not in path.parts and path.name:
            found = [file for folder in folders for file in folder.glob(f"*/In/{escape(str(path))}")]
            yield from found if len(found) == 1 else ()

    def _folders_of(self, path: PurePosixPath) -> list[Path]:
        """Return the folders of the reports that contain the name of the file, or else of all reports."""
        if len(self._folders) == 1:
            return self._folders
        name = [path.name.encode()]
        naming = dict.fromkeys(folder for report, folder in self._reports if contains_any(report, name))
        return list(naming) or self._folders


def _to_path(uri: str) -> PurePosixPath:
    text = unquote(urlsplit(uri).path) if uri.lower().startswith("file://") else uri
    return PurePosixPath(text.replace("\\", "/"))


def _is_specific(folder: Path) -> bool:
    """Return whether a folder can be a checkout: neither the root of the file system nor the home of the user."""
    try:
        home = Path.home().resolve()
    except RuntimeError:
        return folder.parent != folder
    return folder.parent != folder and folder != home


def _is_hidden(relative: Path) -> bool:
    return any(part.startswith(_SECRET_STARTS) for part in relative.parts)
