"""Reads the statements of sql/<noun>.sql: each stands under a line `-- name: <name>`."""

import re
from collections.abc import Mapping
from functools import cache
from pathlib import Path
from typing import Final

_FOLDER: Final = Path(__file__).parents[1] / "sql"
_NAME: Final = re.compile(r"^-- name: (\w+)[^\n]*\n", re.MULTILINE)


@cache
def statements(noun: str) -> Mapping[str, str]:
    """The statements about a noun, by name."""
    pieces = _NAME.split((_FOLDER / f"{noun}.sql").read_text(encoding="utf-8"))
    return {name: text.strip().rstrip(";") for name, text in zip(pieces[1::2], pieces[2::2], strict=True)}


def nouns() -> list[str]:
    """Every noun that has statements."""
    return sorted(file.stem for file in _FOLDER.glob("*.sql"))
