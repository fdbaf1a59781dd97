"""The folders to which the files in reports are relative: the root of absolute paths, and the prefix of each report."""

import re
import subprocess
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from itertools import chain, islice
from pathlib import Path, PurePosixPath
from typing import Final, NamedTuple

from service.client.checkout import find_checkout, is_file
from service.client.report_files import contains_any, read_start
from service.domain.report_fields import check_root
from service.failures.model import find_all, is_library
from service.reports.format_table import detect_format, media_type_of
from service.reports.found_files import is_attachment
from service.reports.report_heads import HEAD_BYTES

_MAX_BYTES: Final = 2 * 2**20  # of a report
_MAX_FILES: Final = 200  # of a report
_GIT_S: Final = 10
# A value in XML or JSON. A match is only its first quote, because texts between elements can contain one quote.
_QUOTED: Final = re.compile(
    r'"(?=([^"<>|*?:\r\n]{1,300})")'
    r"|(?<==)'(?=([^'<>|*?:\r\n]{1,300})')"
)
# A field with the file of a test, or with the folder of all files. Other values can only look like a file.
_NAMED: Final = re.compile(
    r"\b(?:file(?:name|_?path)?|fullFile|rootDir|classname|uri)\"?\s*[=:]\s*"
    r"""(?:"([^"<>|*?\r\n]{1,300})"|'([^'<>|*?\r\n]{1,300})')""",
    re.IGNORECASE,
)
_ABSOLUTE: Final = re.compile(r"[/\\]|[A-Za-z]:|file:")
# Source code. Other files are usually attachments, such as screenshots, which are relative to the folder of the report.
_SOURCE_FILE: Final = re.compile(
    r"[^/\\].*\.(?:[cm]?[jt]sx?|vue|svelte|astro|py|rb|php|phpt|java|kts?|groovy|scala|cljs?|go|rs|cs|fs|vb|swift|mm?|cc?"
    r"|cpp|cxx|hh?|hpp|dart|exs?|erl|hs|mli?|lua|jl|r|pl|pm|t|sh|bats|ps1|sql|feature|robot)"
)
_ESCAPE: Final = re.compile(r'\\[nrt"]')  # of JSON, in front of the name of a file


def find_root(files: Sequence[Path]) -> str | None:
    """Return the root of the repository, or else the working directory, if one of the files contains its path."""
    root = str(find_checkout())
    try:
        check_root(root)
    except ValueError:  # the root of the file system
        return None
    path = root.partition(":")[2] if root[1:2] == ":" else root
    forms = {path, path.replace("\\", "/"), path.replace("\\", "\\\\")}  # separators of Windows, escaped as in JSON
    encoded = [form.encode(errors="surrogateescape") for form in forms]
    return root if any(contains_any(file, encoded) for file in files) else None


class MissingFile(NamedTuple):
    """A file that isn't at its path in the checkout. It can be relative to `folder`, which is empty if it's unknown."""

    report: Path
    file: str
    folder: str = ""


class FoundPrefixes(NamedTuple):
    """The folders of reports whose files are relative to one, and the first file whose folder wasn't found."""

    folders: Mapping[Path, str]
    missing: MissingFile | None = None


def find_prefixes(reports: Iterable[Path]) -> FoundPrefixes:
    """Return the folder of each report whose files are relative to a folder below the root of the checkout.

    Without `.git`, the root is unknown: in a container, `/app` can be any folder of the repository.
    """
    root = find_checkout().resolve()
    is_repository = (root / ".git").exists()
    parts: dict[Path, list[Path]] = {}  # of one report: a folder of Allure results, whose attempts belong together
    for report in reports:
        detected = detect_format(media_type_of(report.name), read_start(report, HEAD_BYTES))
        is_allure = detected is not None and detected.name == "allure"
        parts.setdefault(report.parent.resolve() if is_allure else report, []).append(report)
    folders: dict[Path, str] = {}
    missing: list[MissingFile] = []
    tracked: set[str] | None = None
    for files in parts.values():
        if found := _find_existing(files, root):
            folder, file = found
        elif named := _find_named(files):
            if tracked is None:
                tracked = _list_tracked(root) if is_repository else set()
            folder, file = _find_only_folder(named, tracked), named[0]
        else:
            continue
        if is_repository and folder:
            folders |= dict.fromkeys(files, folder)
        elif folder or not found:
            missing.append(MissingFile(files[0], file, folder))
    return FoundPrefixes(folders, next(iter(missing), None))


def _find_existing(report: Sequence[Path], root: Path) -> tuple[str, str] | None:
    """Return the folder that contains most files of the report, from the root, and one of them, or None.

    The root itself is an empty text. Of equal folders, the nearest one around the report is used, and then the nearest
    one around the working directory. Files in tracebacks count only if no stated file exists, because they can be
    relative to another folder.
    """
    folders = dict.fromkeys((*_folders_around(report[0].resolve().parent, root), *_folders_around(Path.cwd(), root)))
    for find_files in (_stated_files, _called_files):
        distinct = _find_distinct(report, find_files)
        existing = {folder: [file for file in distinct if is_file(folder / file)] for folder in folders}
        folder = max(existing, key=lambda each: len(existing[each]), default=root)
        if files := existing.get(folder):
            return ("" if folder == root else folder.relative_to(root).as_posix()), files[0]
    return None


def _find_named(report: Sequence[Path]) -> list[str]:
    """Return the relative files of tests that a report names, or those in its tracebacks of Python.

    A report that also names an absolute file states to which folder its files are relative, as Playwright's JSON does.
    """
    named = _find_distinct(report, _named_files)
    if any(map(_ABSOLUTE.match, named)):
        return []
    files = [file for file in named if _SOURCE_FILE.fullmatch(file) and not is_attachment(file)]
    return files or [file for file in _find_distinct(report, _called_files) if _is_of_python(file)]


def _find_distinct(report: Sequence[Path], find_files: Callable[[str], Iterable[str]]) -> list[str]:
    texts = (read_start(file, _MAX_BYTES).decode(errors="replace") for file in report)
    return list(dict.fromkeys(islice(chain.from_iterable(map(find_files, texts)), _MAX_FILES)))


def _list_tracked(root: Path) -> set[str]:
    """Return the files of the repository, or none if Git can't list them, such as in a checkout of another user."""
    command = ["git", "ls-files", "-z"]
    try:
        listed = subprocess.run(command, cwd=root, check=True, capture_output=True, timeout=_GIT_S).stdout
    except (OSError, subprocess.SubprocessError):
        return set()
    return set(listed.decode(errors="replace").split("\0"))


def _find_only_folder(files: Sequence[str], tracked: Collection[str]) -> str:
    """Return the folder of the repository that contains all files, or an empty text if several or none do."""
    first, *others = [PurePosixPath(file).as_posix() for file in files]
    above = [path.removesuffix(first) for path in tracked if path.endswith(f"/{first}")]
    folders = [folder for folder in above if all(folder + file in tracked for file in others)]
    return folders[0].rstrip("/") if len(folders) == 1 else ""


def _folders_around(folder: Path, root: Path) -> Iterator[Path]:
    """Yield a folder in the checkout and its parents up to the root."""
    return (each for each in (folder, *folder.parents) if each.is_relative_to(root))


def _stated_files(text: str) -> Iterator[str]:
    values = (match[1] or match[2] for match in _QUOTED.finditer(text))
    return (_portable(value) for value in values if _SOURCE_FILE.fullmatch(value) and not is_attachment(value))


def _named_files(text: str) -> Iterator[str]:
    return (_portable(match[1] or match[2]) for match in _NAMED.finditer(text))


def _portable(file: str) -> str:
    return file.replace("\\\\", "\\").replace("\\", "/")


def _called_files(text: str) -> Iterator[str]:
    return (call.file for call in find_all(_ESCAPE.sub(" ", text)))


def _is_of_python(file: str) -> bool:
    """Return whether a call is one in a file that the server can state for a result: it finds modules of Python."""
    return file.endswith(".py") and "/" in file and not is_library(file)
