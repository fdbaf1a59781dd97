"""The `suite` of a result, which together with its name identifies the case in its project."""

import re
from collections.abc import Sequence
from typing import Final

SEPARATOR: Final = " > "
MAX_LABEL: Final = 1_200  # exceeds the stored length, so that ingest notes the truncation; each case repeats the label

_ABSOLUTE: Final = re.compile(r"[/\\]|[A-Za-z]:")


def suite_label(path: Sequence[str], classname: str = "", file: str | None = None) -> str:
    """Return the path of suites followed by the class. The file, if given, is the first part.

    A class that repeats the innermost suite is omitted. An absolute path is omitted, because it differs between
    machines.
    """
    parts = list(path)
    if classname and parts[-1:] != [classname]:
        parts.append(classname)
    if file and file not in parts and not _ABSOLUTE.match(file):
        parts.insert(0, file)
    return SEPARATOR.join(parts)[:MAX_LABEL]
