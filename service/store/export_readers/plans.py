"""What a bulk export reads: its query, with every value written out, and the ranges of keys that readers share."""

import re
from collections.abc import Mapping, Sequence
from typing import Any, Final, NamedTuple

from service.domain.exports import Column, ExportOrder, Format
from service.domain.filters import ResultFilter
from service.domain.ids import OrgId
from service.domain.key_ranges import KeyRange, RangeStart, cut_into_ranges
from service.store.postgres.composition import Statement, compose
from service.store.postgres.database import Connection
from service.store.postgres.statements import statements
from service.store.queries.filter_values import filter_values

_SQL: Final = statements("exports")
_PARAMETER: Final = re.compile(r"\$(\d+)")

# How a column is written where that differs from its type in the database.
_AS_TEXT: Final[dict[Format, frozenset[Column]]] = {
    "csv": frozenset({"labels", "flaky", "started_at", "completed_at"}),
    "json": frozenset({"started_at", "completed_at"}),
    "ndjson": frozenset({"started_at", "completed_at"}),
    "parquet": frozenset({"labels"}),
}


class ExportPlan(NamedTuple):
    """What an export reads: a statement, its values written out as COPY takes no parameters, and the ranges of keys."""

    statement: Statement
    literals: Mapping[str, str]
    ranges: Sequence[KeyRange]
    expected: int | None  # rows

    def query(self, part: KeyRange) -> str:
        """The query for the rows of one range."""
        literals = {**self.literals, **{name: f"'{value}'" for name, value in part._asdict().items()}}
        return _PARAMETER.sub(lambda match: literals[self.statement.names[int(match[1]) - 1]], self.statement.text)


async def plan_export(connection: Connection, org_id: OrgId, order: ExportOrder, range_results: int) -> ExportPlan:
    """How to read what is asked for, in ranges of about so many results, at the moment that the connection sees."""
    wanted = order.filter
    case_keys = await _case_keys(connection, org_id, wanted)
    values = _values(org_id, order, case_keys) | {"range_results": range_results}
    starts = await compose("export_ranges").fetch_rows(connection, values)
    shape = "export_json" if order.format in ("json", "ndjson") else "export_rows"
    countable = case_keys is None and wanted.suite is None
    return ExportPlan(
        compose(shape, columns=_columns(order)),
        await _literals(connection, values),
        cut_into_ranges(
            values["first_run"],
            values["last_run"],
            [RangeStart(row["run_key"], row["results"]) for row in starts],
            range_results,
        ),
        sum(row["expected"] for row in starts[:1]) if countable else None,
    )


def _columns(order: ExportOrder) -> tuple[str, ...]:
    as_text = _AS_TEXT[order.format]
    return tuple(f"export_{column}{'_text' if column in as_text else ''}" for column in order.columns)


async def _case_keys(connection: Connection, org_id: OrgId, wanted: ResultFilter) -> list[int] | None:
    """The cases that are asked for, or None where no case is."""
    if wanted.case_key is not None:
        return [wanted.case_key]
    if wanted.case_id is None:
        return None
    rows = await connection.fetch(_SQL["find_cases"], org_id, wanted.case_id, wanted.project_id)
    return [row["case_key"] for row in rows]


def _values(org_id: OrgId, order: ExportOrder, case_keys: list[int] | None) -> dict[str, Any]:
    return filter_values(org_id, order.filter, None) | {
        "raw": order.raw,
        "first_run": order.filter.first_key,
        "last_run": order.filter.before(None).run_key,
        "any_status": not order.filter.statuses,
        "case_keys": case_keys,
    }


async def _literals(connection: Connection, values: Mapping[str, Any]) -> Mapping[str, str]:
    """PostgreSQL's own quotation of each value."""
    quoted = await connection.fetchval(_SQL["quote"], [_as_text(value) for value in values.values()])
    return dict(zip(values, quoted, strict=True))


def _as_text(value: Any) -> str | None:
    """A value as PostgreSQL reads it from text; lists are of letters or of numbers, which need no quotation inside."""
    if isinstance(value, list):
        return "{" + ",".join(map(str, value)) + "}"
    return None if value is None else str(value)
