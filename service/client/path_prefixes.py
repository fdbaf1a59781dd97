"""The folder of the repository to which the relative files in a report are relative, by the files that exist.

Most tools state files relative to their working directory: in a monorepo, `cart.test.js` in `web/junit.xml` is the file
`web/cart.test.js`. The server can't know this.
"""

import re
from collections.abc import Collection, Iterable, Iterator, Mapping
from itertools import islice
from pathlib import Path
from typing import Final

from service.client.checkout import find_checkout, is_file
from service.client.report_files import read_start
from service.domain.failure_locations import find_all

_MAX_BYTES: Final = 2 * 2**20  # of a report
_MAX_FILES: Final = 200  # of a report
# A value in XML or JSON. The end is the start of the next match, because texts between elements can contain one quote.
_QUOTED: Final = re.compile(r'"([^"<>|*?:\r\n]{1,300})(?=")')
_FILE_NAME: Final = re.compile(r"[^/\\].*\.[a-z][a-z0-9]{0,6}")


def find_prefixes(reports: Iterable[Path]) -> Mapping[Path, str]:
    """Return the folder of each report whose files are relative to a folder below the root of the checkout."""
    root = find_checkout()
    if not (root / ".git").exists():
        return {}
    prefixes = ((report, _find_prefix(report, root.resolve())) for report in reports)
    return {report: prefix for report, prefix in prefixes if prefix}


def _find_prefix(report: Path, root: Path) -> str:
    """Return the folder that contains most files of the report, from the root, which is an empty text itself.

    Of equal folders, the nearest one around the report is used, and then the nearest one around the working directory.
    Files in tracebacks count only if no stated file exists, because they can be relative to another folder.
    """
    folders = dict.fromkeys((*_folders_around(report.resolve().parent, root), *_folders_around(Path.cwd(), root)))
    text = read_start(report, _MAX_BYTES).decode(errors="replace")
    for files in (_stated_files(text), (call.file for call in find_all(text))):
        distinct = dict.fromkeys(islice(files, _MAX_FILES))
        counts = {folder: _count_existing(folder, distinct) for folder in folders}
        folder = max(counts, key=lambda each: counts[each])
        if counts[folder]:
            return folder.relative_to(root).as_posix().removeprefix(".")
    return ""


def _folders_around(folder: Path, root: Path) -> Iterator[Path]:
    """Yield a folder in the checkout and its parents up to the root."""
    return (each for each in (folder, *folder.parents) if each.is_relative_to(root))


def _stated_files(text: str) -> Iterator[str]:
    values = (match[1] for match in _QUOTED.finditer(text))
    return (value.replace("\\\\", "\\").replace("\\", "/") for value in values if _FILE_NAME.fullmatch(value))


def _count_existing(folder: Path, files: Collection[str]) -> int:
    return sum(is_file(folder / file) for file in files)
