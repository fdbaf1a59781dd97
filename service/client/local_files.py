"""The files on this machine that a report names. A report is data: it can select only files of the checkout.

A path in a report is absolute, or relative to a folder that depends on the tool. The file can be in the folder of the
report, the working directory, or the checkout. A link to another folder and a hidden file, such as `.git/config` or
`.env`, are never selected.
"""

import mmap
import re
from collections.abc import Iterator, Sequence
from glob import escape, glob, has_magic
from itertools import chain, takewhile
from pathlib import Path, PurePosixPath
from typing import Final, NamedTuple
from urllib.parse import unquote, urlsplit

from service.client.checkout import find_checkout
from service.domain.report_formats import REPORT_FORMATS

_DRIVE: Final = re.compile(r"^[A-Za-z]:/")
_SECRET_STARTS: Final = (".", "gha-creds-")  # GitHub's action of Google writes credentials into the checkout
_MIN_PARTS: Final = 2  # of a path that replaces an absolute path of another machine
_NOT_FOUND: Final = "not found"
_OUTSIDE: Final = "outside of the checkout and of the folder of the report"
_LINK: Final = "a link to a file in another folder"
_HIDDEN: Final = "hidden files and credentials aren't uploaded"
_AMBIGUOUS: Final = "several reports name this path, each relative to its own folder"
_NAMES_FILE: Final = re.compile(b"|".join(each.file_reference for each in REPORT_FORMATS if each.file_reference))


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
        """Return the folders of the reports that contain the name of the file, or those of all reports."""
        if len(self._folders) == 1:
            return self._folders
        name = path.name.encode()
        return (
            list(dict.fromkeys(folder for report, folder in self._reports if _contains(report, name))) or self._folders
        )


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


def names_files(report: Path) -> bool:
    """Return whether a report probably names files. A report without any isn't processed before the command ends."""
    try:
        with report.open("rb") as file, mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as content:
            return _NAMES_FILE.search(content) is not None
    except (OSError, ValueError):  # it was deleted or emptied after its upload: the server states what it names
        return True


def is_external(uri: str) -> bool:
    """Return whether a URI is a file on another machine."""
    return "://" in uri and not uri.lower().startswith("file://")


def _to_path(uri: str) -> PurePosixPath:
    text = unquote(urlsplit(uri).path) if uri.lower().startswith("file://") else uri
    return PurePosixPath(text.replace("\\", "/"))


def _is_hidden(relative: Path) -> bool:
    return any(part.startswith(_SECRET_STARTS) for part in relative.parts)


def _is_specific(folder: Path) -> bool:
    """Return whether a folder can be a checkout: neither the root of the file system nor the home of the user."""
    try:
        home = Path.home().resolve()
    except RuntimeError:
        return folder.parent != folder
    return folder.parent != folder and folder != home


def _contains(report: Path, name: bytes) -> bool:
    with report.open("rb") as file, mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as content:
        return content.find(name) >= 0
