"""Loads SQL: the statements of <subject>/store.sql, and the fragments of <subject>/queries.sql."""

import re
from collections.abc import Mapping
from functools import cache
from pathlib import Path
from typing import Final

_ROOT: Final = Path(__file__).parents[1]
_NAME: Final = re.compile(r"^-- name: (\w+)[^\n]*\n", re.MULTILINE)


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
    _, *parts = _NAME.split(file.read_text(encoding="utf-8"))
    return {name: text.strip().rstrip(";") for name, text in zip(parts[::2], parts[1::2], strict=True)}
