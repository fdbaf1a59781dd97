"""Where a failure occurred: the file and line in its texts, as test tools write them.

This module runs on Python 3.10 without third-party packages because the client uses it.
"""

import re
from collections.abc import Callable, Sequence
from pathlib import PurePosixPath
from typing import Final, NamedTuple

from service.domain.failures import strip_escapes

_MAX_TEXT: Final = 100_000  # characters that are searched
_MAX_PATH: Final = 300
# tests/test_cart.py:97: · at Cart (src/cart.ts:12:5) · File "tests/test_cart.py", line 97
_LOCATION: Final = re.compile(
    r"(?<![\w/.@:~\\-])([\w@+-][\w./@+-]{0,299}\.[A-Za-z]\w{0,9})(?::|\", line )(\d{1,7})\b", re.ASCII
)
_OF_LIBRARIES: Final = frozenset({"node_modules", "site-packages", "dist-packages", "vendor", ".venv", "venv"})
# The locations of Java and Go have no folders: at com.acme.CartTest.pays(CartTest.java:12) · cart_test.go:9: …
_WITHOUT_FOLDERS: Final = frozenset({".java", ".kt", ".scala", ".groovy", ".go"})
_INNERMOST_LAST: Final = frozenset({".py"})  # Python lists the innermost call last, other languages list it first


class FailureLocation(NamedTuple):
    """A file, relative to the root of the repository, and a line in it, which can be unknown."""

    file: str
    line: int | None


def find_location(
    texts: Sequence[str | None], file: str | None, line: int | None, exists: Callable[[str], bool] = lambda _: False
) -> FailureLocation | None:  # fmt: skip
    """Return the innermost call in a file of the repository, or None.

    `texts` are the details and the message of the failure, `file` and `line` those of the case. Other files are used
    only for a case without a file, because they can be those of libraries, or relative to another folder. For example,
    `cart.js:3` is in the file `web/cart.js` of the case. For the file `cart.js` of the case, `web/cart.js:3` is used
    only if this file exists in the repository. An absolute file isn't returned.
    """
    stated = file if file and _is_relative(file) else None
    for text in filter(None, texts):
        calls = [call for call in find_all(text[:_MAX_TEXT]) if not is_library(call.file)]
        if found := [call for call in calls if (_is_of(call, file) if file else _has_folders(call))]:
            call = _innermost(found)
            is_longer = len(call.file) > len(stated or "")
            return call if not stated or (is_longer and exists(call.file)) else call._replace(file=stated)
    return FailureLocation(stated, line or None) if stated else None


def find_module(text: str, module: str) -> str | None:
    """Return the file of a Python class or module in a traceback: `tests/test_cart.py` for `tests.test_cart.TestCart`.

    Both can be relative to different folders, so that the module is `api.tests.test_cart` or `test_cart`.
    """
    return next((call.file for call in find_all(text[:_MAX_TEXT]) if _is_module(call.file, module.split("."))), None)


def find_all(text: str) -> list[FailureLocation]:
    """Return the files and lines in a text that aren't absolute."""
    matches = _LOCATION.finditer(strip_escapes(text))
    return [FailureLocation(match[1], int(match[2])) for match in matches if _is_relative(match[1]) and int(match[2])]


def is_library(file: str) -> bool:
    """Return whether a file is in a folder of installed packages."""
    return not _OF_LIBRARIES.isdisjoint(PurePosixPath(file).parts)


def _is_module(file: str, names: Sequence[str]) -> bool:
    *folders, name = file.removesuffix(".py").split("/")
    around = zip(reversed(folders), reversed(names[: names.index(name)]), strict=False) if name in names else ()
    return name in names and all(folder == parent for folder, parent in around)


def _is_of(call: FailureLocation, file: str) -> bool:
    """Return whether a call is in a file, although both can be relative to different folders."""
    return f"/{file}".endswith(f"/{call.file}") or call.file.endswith(f"/{file}")


def _has_folders(call: FailureLocation) -> bool:
    return "/" in call.file or PurePosixPath(call.file).suffix not in _WITHOUT_FOLDERS


def _innermost(locations: Sequence[FailureLocation]) -> FailureLocation:
    suffix = PurePosixPath(locations[0].file).suffix
    return locations[-1 if suffix in _INNERMOST_LAST else 0]


def _is_relative(file: str) -> bool:
    path = PurePosixPath(file)
    return not path.is_absolute() and ".." not in path.parts and len(file) <= _MAX_PATH
