"""Loads the SQL of each subject from its .sql files, composes its fragments, and numbers its parameters.

Each text of a file follows a line `-- name: <name>`. Lines that start with `--` and two spaces continue this line.

- A *statement*, which is in `store.sql`, states its parameters in the order in which a caller passes their values. The
  caller of `-- name: lock(org_id, run_id)` executes `connection.fetch(statements("runs")["lock"], org_id, run_id)`.
- A text without parentheses is a *fragment*, or the frame of a statement that `compose` returns. Its values have names.

`{stats.MAX_RUNS}` is a constant of stats/model.py. `{each runs.CONTEXT_FIELDS: r.%}` is a text for each name in such a
constant, with the name instead of `%`: `r.pipeline, r.title, …`.

Statements and fragments can contain `:name`, a parameter, and `{name}`, which is replaced by the fragment of that name
or by the one that the caller of `compose` chooses. A fragment of the same subject has priority. The text of each
composed statement is in tests/database/snapshots. Only names and numbers from this code base choose fragments. Values
of clients are parameters.
"""

import re
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cache, lru_cache
from importlib import import_module
from pathlib import Path
from typing import Any, Final

import asyncpg
from asyncpg.pool import PoolConnectionProxy

# The scan budget of one page: the maximum number of runs or details, and of results. The other budgets apply instead if
# each row needs a lookup of its run or case, or a probe of the results or details, which are partitioned.
RUN_BUDGET: Final = 1_000
ROW_BUDGET: Final = 3_000
LOOKUP_BUDGET: Final = 350
PROBE_BUDGET: Final = 150

# The maximum number of runs and results that a request without further pages reads.
MAX_READ_RUNS: Final = 2_000
MAX_READ_ROWS: Final = 20_000

# The maximum number of failing results that failure groups count, except for those of one run. Each takes 2 µs, because
# its fingerprint is read from the table and the results are sorted. The other limit is the number of minutes in which
# the results of one group are searched. Each of them needs a probe of the details.
MAX_READ_FAILURES: Final = 5_000
MAX_READ_MINUTES: Final = 1_000

# The number of newest runs of a project in which lists look up its cases. If a case occurs in few of them, its
# statistics cover fewer runs than the client requested.
RECENT_RUNS: Final = 200

# The number of cases of a project that one page compares with words and variants, each in about 1 µs.
SEARCHED_CASES: Final = 50_000

# The numbers that a fragment can contain as a literal, because the planner can't estimate a parameter in LIMIT.
_BUDGETS: Final[Mapping[str, int]] = {
    "run_budget": RUN_BUDGET, "max_row_budget": ROW_BUDGET, "probe_budget": PROBE_BUDGET, "read_budget": MAX_READ_ROWS,
    "read_runs": MAX_READ_RUNS, "recent_runs": RECENT_RUNS, "searched_cases": SEARCHED_CASES,
    "failure_budget": MAX_READ_FAILURES, "minute_budget": MAX_READ_MINUTES,
}  # fmt: skip

_CACHED_STATEMENTS: Final = 1_000  # bounded, because clients choose the columns of an export in any order

_ROOT: Final = Path(__file__).parents[1]
_HEADER: Final = re.compile(r"^-- name: (\w+)(?:\(([^)]*)\))?[^\n]*\n(?:--  [^\n]*\n)*", re.MULTILINE)
_PLACEHOLDER: Final = re.compile(r"\{([a-z]\w*)\}")
_PARAMETER: Final = re.compile(r"(?<!:):([a-z]\w*)")

_CONSTANT: Final = re.compile(r"\{(\w+\.[A-Z_]+)\}")
_EACH: Final = re.compile(r"\{each (\w+\.[A-Z_]+): ([^{}]+)\}")
_WIDTH: Final = 120  # characters of a line, so that snapshots are readable

_Connection = asyncpg.Connection | PoolConnectionProxy  # the Connection of database.py, which imports this module


@dataclass(frozen=True, slots=True)
class Fragment:
    """A fragment from a table of this code base instead of a file."""

    name: str
    text: str


Choice = str | int | Fragment | tuple[str | Fragment, ...]


@dataclass(frozen=True, slots=True)
class Statement:
    """A statement with numbered parameters, and the names of its parameters in that order.

    Its own name consists of the names of the statement and of the chosen fragments.
    """

    name: str
    text: str
    names: tuple[str, ...]

    async def fetch_rows(self, connection: _Connection, values: Mapping[str, object]) -> Sequence[asyncpg.Record]:
        """Return all rows."""
        rows: Sequence[asyncpg.Record] = await connection.fetch(self.text, *self._arguments(values))
        return rows

    async def fetch_row(self, connection: _Connection, values: Mapping[str, object]) -> asyncpg.Record:
        """Return the row of a statement that always returns one. Raises LookupError if it doesn't."""
        row = await connection.fetchrow(self.text, *self._arguments(values))
        if row is None:
            raise LookupError("the statement returned no row")
        return row

    async def fetch_value(self, connection: _Connection, values: Mapping[str, object]) -> Any:
        """Return the first column of the first row, or None if there is no row."""
        return await connection.fetchval(self.text, *self._arguments(values))

    def _arguments(self, values: Mapping[str, object]) -> list[object]:
        """Return the values of the parameters in their order. The statement doesn't need to use all values."""
        return [values[name] for name in self.names]


@lru_cache(_CACHED_STATEMENTS)
def compose(name: str, **choices: Choice) -> Statement:
    """Return the statement with the chosen fragment, list of fragments, or number for each placeholder.

    Its parameters are numbered in the order in which they occur first.
    """
    text = _fill(*_find_fragment(name), {**_BUDGETS, **choices})
    names = tuple(dict.fromkeys(_PARAMETER.findall(text)))
    chosen = [choice for choice in choices.values() if isinstance(choice, str | Fragment)]
    full_name = ".".join([name, *(choice.name if isinstance(choice, Fragment) else choice for choice in chosen)])
    return Statement(full_name, _number(text, names), names)


@cache
def statements(subject: str, file: str = "store") -> Mapping[str, str]:
    """Return the statements of a subject by name, whose parameters are numbered in the order that each one states.

    Statements that only Citus can execute are in the file `citus` of the subject `database`.
    """
    return {
        name: _number(_fill(subject, text, _BUDGETS), parameters)
        for name, text, parameters in _load(_ROOT / subject / f"{file}.sql")
        if parameters is not None
    }


def subjects() -> list[str]:
    """Return every subject that has statements."""
    return sorted(str(file.parent.relative_to(_ROOT)) for file in _ROOT.glob("**/store.sql"))


@cache
def fragments() -> Mapping[str, Mapping[str, str]]:
    """Return the fragments of each subject by name."""
    found: dict[str, dict[str, str]] = defaultdict(dict)
    for subject in subjects():
        for file in sorted((_ROOT / subject).glob("*.sql")):
            found[subject] |= {name: text for name, text, parameters in _load(file) if parameters is None}
    return found


def _load(file: Path) -> list[tuple[str, str, tuple[str, ...] | None]]:
    """Return the name, the text, and the stated parameters of each text of a file."""
    text = _CONSTANT.sub(lambda match: str(_find_constant(match[1])), file.read_text(encoding="utf-8"))
    _, *parts = _HEADER.split(_EACH.sub(_repeat, text))
    return [
        (name, text.strip().rstrip(";"), None if stated is None else tuple(re.findall(r"\w+", stated)))
        for name, stated, text in zip(parts[::3], parts[1::3], parts[2::3], strict=True)
    ]


def _find_constant(name: str) -> Any:
    """Return a constant of the model of a subject, such as `stats.MAX_RUNS`. So this module imports no subject."""
    subject, constant = name.split(".")
    return getattr(import_module(f"service.{subject}.model"), constant)


def _repeat(each: re.Match[str]) -> str:
    """Return the text for each name, in lines that are indented like the first one."""
    lines: list[str] = []
    for name in _find_constant(each[1]):
        text = each[2].replace("%", name)
        if lines and len(lines[-1]) + len(text) + 3 <= _WIDTH:
            lines[-1] += f", {text}"
        else:
            lines.append(text)
    return (",\n" + _indentation(each.string, each.start())).join(lines)


def _find_fragment(name: str, subject: str = "") -> tuple[str, str]:
    """Return the subject and the text of a fragment: of the given subject, or else of the only one that has it.

    Raises LookupError if no subject or several others have it.
    """
    owners = [subject] if name in fragments().get(subject, ()) else [
        owner for owner, texts in fragments().items() if name in texts
    ]  # fmt: skip
    if len(owners) != 1:
        raise LookupError(f"the fragment {name} is in {len(owners)} subjects")
    return owners[0], fragments()[owners[0]][name]


def _fill(subject: str, text: str, choices: Mapping[str, Choice]) -> str:
    """Replace the placeholders in a text of a subject, and those in the fragments that replace them."""

    def replacement(match: re.Match[str]) -> str:
        choice = choices.get(match[1], match[1])
        if isinstance(choice, int):
            return str(choice)
        chosen = choice if isinstance(choice, tuple) else (choice,)
        found = ((subject, it.text) if isinstance(it, Fragment) else _find_fragment(it, subject) for it in chosen)
        filled = ", ".join(_fill(owner, text, choices) for owner, text in found)
        return filled.replace("\n", "\n" + _indentation(text, match.start()))

    return _PLACEHOLDER.sub(replacement, text)


def _indentation(text: str, index: int) -> str:
    line = text[text.rfind("\n", 0, index) + 1 : index]
    return line[: len(line) - len(line.lstrip())]


def _number(text: str, names: Sequence[str]) -> str:
    """Replace the name of each parameter by its number."""
    numbers = {name: f"${number}" for number, name in enumerate(names, 1)}
    return _PARAMETER.sub(lambda match: numbers[match[1]], text)
