"""The `suite` of a result, which together with its name identifies the case in its project."""

from collections.abc import Sequence
from typing import Final

SUITE_LEVEL_NAME: Final = "(suite)"  # name of the case for a failure of a suite itself
SEPARATOR: Final = " > "
MAX_LABEL: Final = 1_200  # exceeds the stored length, so that ingest notes the truncation; each case repeats the label

_CLASS_SEPARATORS: Final = (".", "::", "/", SEPARATOR)


def suite_label(path: Sequence[str], classname: str = "", file: str | None = None) -> str:
    """Return the path of suites followed by the class. The file, if given, is the first part.

    The part of the class that repeats the suites is omitted.
    """
    parts = list(path)
    if classname := _without_suites(classname, parts):
        parts.append(classname)
    if file and file not in parts:
        parts.insert(0, file)
    return SEPARATOR.join(parts)[:MAX_LABEL]


def _without_suites(classname: str, path: list[str]) -> str:
    """Return the class without the path or the innermost suite in front of it. Return "" if nothing else remains.

    A class at the end of the innermost suite is a repetition too: `Tests.Cart` contains the class `Cart`.
    PHPUnit writes the class `Tests\\Cart` of a suite as `Tests.Cart` in its cases.
    """
    if not path or not classname:
        return classname
    if "\\" in path[-1] and classname in (suite.replace("\\", ".") for suite in path):
        return ""
    for separator in _CLASS_SEPARATORS:
        if path[-1].endswith(separator + classname):
            return ""
        for prefix in (separator.join(path), path[-1]):
            if classname == prefix:
                return ""
            if classname.startswith(prefix + separator):
                return classname[len(prefix) + len(separator) :]
    return classname
