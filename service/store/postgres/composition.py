"""Puts reading statements together from the named pieces of sql/read_*.sql and numbers their parameters.

A piece may hold `{other}`, which stands for the piece of that name, or for whatever was chosen for it, and `:name`,
a parameter. Only names and numbers of our own code choose pieces; whatever a caller says travels as a parameter.
"""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Any, Final, NamedTuple

import asyncpg

from service.store.postgres.database import Connection
from service.store.postgres.statements import nouns, statements

# How far one page looks before it returns what it has: through so many runs or details, and so many results; through
# fewer where each needs a look-up of its own.
RUN_BUDGET: Final = 2_000
PROBE_BUDGET: Final = 500
ROW_BUDGET: Final = 20_000

_PIECES: Final = {name: text for noun in nouns() if noun.startswith("read_") for name, text in statements(noun).items()}
_REMEMBERED: Final = 1_000  # statements; clients choose the columns of an export in any order
Choice = str | int | tuple[str, ...]

_PIECE: Final = re.compile(r"\{(\w+)\}")
_PARAMETER: Final = re.compile(r"(?<!:):([a-z]\w*)")


@dataclass(frozen=True, slots=True)
class Statement:
    """A statement as PostgreSQL takes it, and the names of its parameters in their order."""

    text: str
    names: tuple[str, ...]

    async def fetch_rows(self, connection: Connection, values: Mapping[str, object]) -> Sequence[asyncpg.Record]:
        """Every row."""
        rows: Sequence[asyncpg.Record] = await connection.fetch(self.text, *self._arguments(values))
        return rows

    async def fetch_row(self, connection: Connection, values: Mapping[str, object]) -> asyncpg.Record:
        """The one row of a statement that always has one."""
        row = await connection.fetchrow(self.text, *self._arguments(values))
        if row is None:
            raise LookupError("a statement that always answers with a row has not")
        return row

    async def fetch_value(self, connection: Connection, values: Mapping[str, object]) -> Any:
        """The first column of the first row, or None where there is no row."""
        return await connection.fetchval(self.text, *self._arguments(values))

    def _arguments(self, values: Mapping[str, object]) -> list[object]:
        """The values in the order of the parameters; those that the statement does not ask for stay out."""
        return [values[name] for name in self.names]


class IdPage(NamedTuple):
    """`data` is a JSON array; `next` is the id behind which the list goes on, None at its end."""

    data: str
    next: str | None


async def page_by_id(connection: Connection, listed: str, values: Mapping[str, object]) -> IdPage:
    """A page of a list that runs from the newest id to the oldest; `listed` names the piece that reads it."""
    return IdPage(*await compose("page_by_id", listed=listed).fetch_row(connection, values))


@lru_cache(_REMEMBERED)
def compose(name: str, **chosen: Choice) -> Statement:
    """The statement of this name with the chosen piece, list of pieces, or number for each of its holes."""
    text = _fill(_PIECES[name], chosen)
    names = tuple(dict.fromkeys(_PARAMETER.findall(text)))
    numbers = {parameter: f"${number}" for number, parameter in enumerate(names, 1)}
    return Statement(_PARAMETER.sub(lambda match: numbers[match[1]], text), names)


def _fill(text: str, chosen: Mapping[str, Choice]) -> str:
    def piece(match: re.Match[str]) -> str:
        wanted = chosen.get(match[1], match[1])
        if isinstance(wanted, int):
            return str(wanted)
        return ", ".join(_fill(_PIECES[name], chosen) for name in ((wanted,) if isinstance(wanted, str) else wanted))

    return _PIECE.sub(piece, text)
