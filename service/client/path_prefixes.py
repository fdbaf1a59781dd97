"""The folder of the repository to which the relative files in a report are relative, by the files that exist.

Most tools state files relative to their working directory: in a monorepo, `cart.test.js` in `web/junit.xml` is the file
`web/cart.test.js`. The server can't know this.
"""

import re
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from itertools import chain, islice
from pathlib import Path
from typing import Final

from service.client.checkout import find_checkout, is_file
from service.client.report_files import read_start
from service.domain.failure_locations import find_all
from service.domain.found_files import is_attachment
from service.domain.report_formats import detect_format, media_type_of
from service.domain.report_heads import HEAD_BYTES

_MAX_BYTES: Final = 2 * 2**20  # of a report
_MAX_FILES: Final = 200  # of a report
# A value in XML or JSON. A match is only its first quote, because texts between elements can contain one quote.
_QUOTED: Final = re.compile(
    r'"(?=([^"<>|*?:\r\n]{1,300})")'
    r"|(?<==)'(?=([^'<>|*?:\r\n]{1,300})')"
)
# Source code. Other files are usually attachments, such as screenshots, which are relative to the folder of the report.
_SOURCE_FILE: Final = re.compile(
    r"[^/\\].*\.(?:[cm]?[jt]sx?|vue|svelte|astro|py|rb|php|phpt|java|kts?|groovy|scala|cljs?|go|rs|cs|fs|vb|swift|mm?|cc?"
    r"|cpp|cxx|hh?|hpp|dart|exs?|erl|hs|mli?|lua|jl|r|pl|pm|t|sh|bats|ps1|sql|feature|robot)"
)
_ESCAPE: Final = re.compile(r'\\[nrt"]')  # of JSON, in front of the name of a file


def find_prefixes(reports: Iterable[Path]) -> Mapping[Path, str]:
    """Return the folder of each report whose files are relative to a folder below the root of the checkout."""
    root = find_checkout()
    if not (root / ".git").exists():
        return {}
    parts: dict[Path, list[Path]] = {}  # of one report: a folder of Allure results, whose attempts belong together
    for report in reports:
        detected = detect_format(media_type_of(report.name), read_start(report, HEAD_BYTES))
        is_allure = detected is not None and detected.name == "allure"
        parts.setdefault(report.parent.resolve() if is_allure else report, []).append(report)
    prefixes = ((files, _find_prefix(files, root.resolve())) for files in parts.values())
    return {file: prefix for files, prefix in prefixes if prefix for file in files}


def _find_prefix(report: Sequence[Path], root: Path) -> str:
    """Return the folder that contains most files of the report, from the root, which is an empty text itself.

    Of equal folders, the nearest one around the report is used, and then the nearest one around the working directory.
    Files in tracebacks count only if no stated file exists, because they can be relative to another folder.
    """
    folders = dict.fromkeys((*_folders_around(report[0].resolve().parent, root), *_folders_around(Path.cwd(), root)))
    for find_files in (_stated_files, _called_files):
        texts = (read_start(file, _MAX_BYTES).decode(errors="replace") for file in report)
        distinct = dict.fromkeys(islice(chain.from_iterable(map(find_files, texts)), _MAX_FILES))
        counts = {folder: _count_existing(folder, distinct) for folder in folders}
        folder = max(counts, key=lambda each: counts[each])
        if counts[folder]:
            return "" if folder == root else folder.relative_to(root).as_posix()
    return ""


def _folders_around(folder: Path, root: Path) -> Iterator[Path]:
    """Yield a folder in the checkout and its parents up to the root."""
    return (each for each in (folder, *folder.parents) if each.is_relative_to(root))


def _stated_files(text: str) -> Iterator[str]:
    values = (match[1] or match[2] for match in _QUOTED.finditer(text))
    files = (value for value in values if _SOURCE_FILE.fullmatch(value) and not is_attachment(value))
    return (file.replace("\\\\", "\\").replace("\\", "/") for file in files)


def _called_files(text: str) -> Iterator[str]:
    return (call.file for call in find_all(_ESCAPE.sub(" ", text)))


def _count_existing(folder: Path, files: Collection[str]) -> int:
    return sum(is_file(folder / file) for file in files)
