"""Loads the SQL statements of sql/<noun>.sql and the fragments of sql/queries/<noun>.sql."""

import re
from collections.abc import Mapping
from functools import cache
from pathlib import Path
from typing import Final

_FOLDER: Final = Path(__file__).parents[1] / "sql"
_NAME: Final = re.compile(r"^-- name: (\w+)[^\n]*\n", re.MULTILINE)


@cache
def statements(noun: str) -> Mapping[str, str]:
    """Return the statements of a noun by name. Each one follows a line `-- name: <name>`.

    Statements that only Citus can execute are in the folder citus: `citus/<noun>`.
    """
    return _load(_FOLDER / f"{noun}.sql")


@cache
def fragments() -> Mapping[str, str]:
    """Return the fragments of all queries by name."""
    files = sorted((_FOLDER / "queries").glob("*.sql"))
    return {name: text for file in files for name, text in _load(file).items()}


def nouns() -> list[str]:
    """Return every noun that has statements."""
    return sorted(file.stem for file in _FOLDER.glob("*.sql"))


def _load(file: Path) -> Mapping[str, str]:
    _, *parts = _NAME.split(file.read_text(encoding="utf-8"))
    return {name: text.strip().rstrip(";") for name, text in zip(parts[::2], parts[1::2], strict=True)}
