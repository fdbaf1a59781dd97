"""Where a failure occurred: the file and line in its texts, as test tools write them.

This module runs on Python 3.10 without third-party packages because the client uses it.
"""

import re
from collections.abc import Sequence
from pathlib import PurePosixPath
from typing import Final, NamedTuple

_MAX_TEXT: Final = 100_000  # characters that are searched
_MAX_PATH: Final = 300
# tests/test_cart.py:97: · at Cart (src/cart.ts:12:5) · File "tests/test_cart.py", line 97
_LOCATION: Final = re.compile(
    r"(?<![\w/.@:~\\-])([\w@+-][\w./@+-]{0,299}\.[A-Za-z]\w{0,9})(?::|\", line )(\d{1,7})\b", re.ASCII
)
_OF_LIBRARIES: Final = frozenset({"node_modules", "site-packages", "dist-packages", "vendor", ".venv", "venv"})
_INNERMOST_LAST: Final = frozenset({".py"})  # Python lists the innermost call last, other languages list it first


class FailureLocation(NamedTuple):
    """A file, relative to the root of the repository, and a line in it."""

    file: str
    line: int


def find_location(texts: Sequence[str | None], file: str | None, line: int | None) -> FailureLocation | None:
    """Return the innermost call in a file of the repository, or None.

    `texts` are the details and the message of the failure, `file` and `line` those of the case. A call in the file of
    the case is preferred, because other paths can be those of libraries.
    """
    for text in filter(None, texts):
        found = [location for location in _find_all(text[:_MAX_TEXT]) if not _is_library(location.file)]
        own = [location for location in found if location.file == file]
        if own or found:
            return _innermost(own or found)
    return FailureLocation(file, line) if file and line and _is_relative(file) else None


def _find_all(text: str) -> list[FailureLocation]:
    matches = (FailureLocation(match[1], int(match[2])) for match in _LOCATION.finditer(text))
    return [location for location in matches if _is_relative(location.file) and location.line > 0]


def _innermost(locations: Sequence[FailureLocation]) -> FailureLocation:
    suffix = PurePosixPath(locations[0].file).suffix
    return locations[-1 if suffix in _INNERMOST_LAST else 0]


def _is_relative(file: str) -> bool:
    path = PurePosixPath(file)
    return not path.is_absolute() and ".." not in path.parts and len(file) <= _MAX_PATH


def _is_library(file: str) -> bool:
    return not _OF_LIBRARIES.isdisjoint(PurePosixPath(file).parts)
