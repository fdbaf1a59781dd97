"""Loads SQL: the statements of <subject>/store.sql, and the fragments of <subject>/queries.sql.

`{each context: r.%}` is a text for each field of a list, with its name instead of `%`: `r.pipeline, r.title, …`.
"""

import re
from collections.abc import Mapping
from functools import cache
from pathlib import Path
from typing import Final

from service.runs.model import CONTEXT_FIELDS, STATED_FIELDS

_ROOT: Final = Path(__file__).parents[1]
_NAME: Final = re.compile(r"^-- name: (\w+)[^\n]*\n", re.MULTILINE)
_EACH: Final = re.compile(r"\{each (\w+): ([^{}]+)\}")
_FIELDS: Final = {"stated": tuple(STATED_FIELDS), "context": CONTEXT_FIELDS}  # of runs
_WIDTH: Final = 120  # characters of a line, so that snapshots are readable


@cache
def statements(subject: str, file: str = "store") -> Mapping[str, str]:
    """Return the statements of a subject by name. Each one follows a line `-- name: <name>`.

    Statements that only Citus can execute are in the file `citus` of the subject `database`.
    """
    return _load(_ROOT / subject / f"{file}.sql")


@cache
def fragments() -> Mapping[str, str]:
    """Return the fragments of all queries by name."""
    return {name: text for file in sorted(_ROOT.glob("**/queries.sql")) for name, text in _load(file).items()}


def subjects() -> list[str]:
    """Return every subject that has statements."""
    return sorted(str(file.parent.relative_to(_ROOT)) for file in _ROOT.glob("**/store.sql"))


def _load(file: Path) -> Mapping[str, str]:
    _, *parts = _NAME.split(_EACH.sub(_repeat, file.read_text(encoding="utf-8")))
    return {name: text.strip().rstrip(";") for name, text in zip(parts[::2], parts[1::2], strict=True)}


def _repeat(each: re.Match[str]) -> str:
    """Return the text for each field, in lines that are indented like the first one."""
    lines: list[str] = []
    for name in _FIELDS[each[1]]:
        text = each[2].replace("%", name)
        if lines and len(lines[-1]) + len(text) + 3 <= _WIDTH:
            lines[-1] += f", {text}"
        else:
            lines.append(text)
    line_start = each.string.rfind("\n", 0, each.start()) + 1
    before = each.string[line_start : each.start()]
    return (",\n" + " " * (len(before) - len(before.lstrip()))).join(lines)
