"""Where a case stands: the `suite` that, with its name, tells it from all others of a project."""

import re
from collections.abc import Sequence
from typing import Final

SEPARATOR: Final = " > "
MAX_LABEL: Final = 1_200  # more than is kept, so that the cut is noted; each case of a suite repeats it

_ABSOLUTE: Final = re.compile(r"[/\\]|[A-Za-z]:")


def suite_label(path: Sequence[str], classname: str = "", file: str | None = None) -> str:
    """The path of suites, then the class; in front the file, where nothing else tells cases apart.

    A class that only repeats the innermost suite is left out, and so is an absolute path: it differs
    from machine to machine.
    """
    parts = list(path)
    if classname and parts[-1:] != [classname]:
        parts.append(classname)
    if file and file not in parts and not _ABSOLUTE.match(file):
        parts.insert(0, file)
    return SEPARATOR.join(parts)[:MAX_LABEL]
