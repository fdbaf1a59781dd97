"""Composes query statements from the fragments of queries.sql and numbers their parameters.

A fragment can contain `{other}`, which is replaced by the fragment of that name or by the one that the caller chooses,
and `:name`, a parameter. The text of each statement is in tests/store/snapshots. Only names and numbers from this code
base choose fragments. Values of clients are parameters.
"""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Any, Final

import asyncpg

from service.database.database import Connection
from service.database.statements import fragments
from service.domain.filters import Position, RunFilter
from service.domain.ids import OrgId
from service.domain.statuses import STATUS_CODES
from service.stats.model import MAX_GROUPS, MAX_RUNS

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

# A page ends after the item with which it reaches this size. The client continues with the cursor.
MAX_PAGE_BYTES: Final = 4 * 2**20

# The numbers that a fragment can contain as a literal, because the planner can't estimate a parameter in LIMIT.
_BUDGETS: Final[Mapping[str, int]] = {
    "run_budget": RUN_BUDGET, "row_budget": ROW_BUDGET, "probe_budget": PROBE_BUDGET, "read_budget": MAX_READ_ROWS,
    "read_runs": MAX_READ_RUNS, "recent_runs": RECENT_RUNS, "searched_cases": SEARCHED_CASES,
    "failure_budget": MAX_READ_FAILURES, "minute_budget": MAX_READ_MINUTES, "stats_runs": MAX_RUNS,
    "max_groups": MAX_GROUPS,
}  # fmt: skip

_CACHED_STATEMENTS: Final = 1_000  # bounded, because clients choose the columns of an export in any order

_PLACEHOLDER: Final = re.compile(r"\{(\w+)\}")
_PARAMETER: Final = re.compile(r"(?<!:):([a-z]\w*)")


@dataclass(frozen=True, slots=True)
class Fragment:
    """A fragment from a table of this code base instead of queries.sql."""

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

    async def fetch_rows(self, connection: Connection, values: Mapping[str, object]) -> Sequence[asyncpg.Record]:
        """Return all rows."""
        rows: Sequence[asyncpg.Record] = await connection.fetch(self.text, *self._arguments(values))
        return rows

    async def fetch_row(self, connection: Connection, values: Mapping[str, object]) -> asyncpg.Record:
        """Return the row of a statement that always returns one. Raises LookupError if it doesn't."""
        row = await connection.fetchrow(self.text, *self._arguments(values))
        if row is None:
            raise LookupError("the statement returned no row")
        return row

    async def fetch_value(self, connection: Connection, values: Mapping[str, object]) -> Any:
        """Return the first column of the first row, or None if there is no row."""
        return await connection.fetchval(self.text, *self._arguments(values))

    def _arguments(self, values: Mapping[str, object]) -> list[object]:
        """Return the values of the parameters in their order. The statement doesn't need to use all values."""
        return [values[name] for name in self.names]


@lru_cache(_CACHED_STATEMENTS)
def compose(name: str, **choices: Choice) -> Statement:
    """Return the statement with the chosen fragment, list of fragments, or number for each placeholder."""
    text = _fill(fragments()[name], {**_BUDGETS, **choices})
    names = tuple(dict.fromkeys(_PARAMETER.findall(text)))
    numbers = {parameter: f"${number}" for number, parameter in enumerate(names, 1)}
    chosen = [choice for choice in choices.values() if isinstance(choice, str | Fragment)]
    full_name = ".".join([name, *(choice.name if isinstance(choice, Fragment) else choice for choice in chosen)])
    return Statement(full_name, _PARAMETER.sub(lambda match: numbers[match[1]], text), names)


def _fill(text: str, choices: Mapping[str, Choice]) -> str:
    def replacement(match: re.Match[str]) -> str:
        choice = choices.get(match[1], match[1])
        if isinstance(choice, int):
            return str(choice)
        chosen = choice if isinstance(choice, tuple) else (choice,)
        texts = (item.text if isinstance(item, Fragment) else fragments()[item] for item in chosen)
        filled = ", ".join(_fill(text, choices) for text in texts)
        return filled.replace("\n", "\n" + _indentation(text, match.start()))

    return _PLACEHOLDER.sub(replacement, text)


def _indentation(text: str, index: int) -> str:
    line = text[text.rfind("\n", 0, index) + 1 : index]
    return line[: len(line) - len(line.lstrip())]


_ALL_CODES: Final = list(STATUS_CODES.values())


def filter_values(org_id: OrgId, filter_: RunFilter, after: Position | None) -> dict[str, Any]:
    """Return the parameters of a statement for the part of the list after a position.

    Each field of the filter is the parameter of its name. A field with several values is a list, or null without any.
    If no status is set, `any_status` is true, and `statuses` are all letters. The times are converted to the range of
    run keys from `first_key` to `before_run`. `trusted` is null if runs of both kinds match.
    """
    before = filter_.before(after)
    values = {
        name: (list(value) or None) if isinstance(value, tuple) else value for name, value in vars(filter_).items()
    }
    return values | {
        "org_id": org_id,
        "statuses": values["statuses"] or _ALL_CODES,
        "any_status": not values["statuses"],
        "trusted": filter_.is_trusted,
        "first_key": filter_.first_key,
        "before_run": before.run_key,
        "before_case": before.case_key,
    }
