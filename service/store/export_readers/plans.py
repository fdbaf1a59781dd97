"""Plan of an export: its query with literal values, and the key ranges that the readers share."""

import re
from bisect import bisect_left, bisect_right
from collections.abc import Mapping, Sequence
from typing import Any, Final, NamedTuple

from service.domain.errors import ServiceError
from service.domain.exports import ExportSpec
from service.domain.filters import ResultFilter
from service.domain.ids import OrgId, RunKey
from service.domain.key_ranges import KeyRange, RangeStart, split_into_ranges
from service.domain.streams import AFTER_LAST, BEFORE_FIRST
from service.store.postgres.composition import Statement, compose
from service.store.postgres.database import Connection
from service.store.postgres.statements import statements
from service.store.queries.filter_values import filter_values

_SQL: Final = statements("exports")
_ORDERS: Final = {"-duration_ms": "export_order_of_durations", "suite": "export_order_of_suites"}
_UNLIMITED: Final = 2**31 - 1
_PARAMETER: Final = re.compile(r"\$(\d+)")


class PositionDeleted(ServiceError):
    """Events after the position were deleted before the export started."""

    def __init__(self) -> None:
        super().__init__("updated_since: later events were deleted; export all runs, without updated_since")


class ExportPlan(NamedTuple):
    """A statement, its values as literals because COPY accepts no parameters, and the key ranges."""

    statement: Statement
    literals: Mapping[str, str]
    ranges: Sequence[KeyRange]
    expected_rows: int | None  # None if the number isn't known in advance
    position: str  # in the event stream; the export contains all earlier changes
    changed_keys: list[RunKey]  # of the changed runs, sorted, if the export contains only those

    def query(self, key_range: KeyRange) -> str:
        """Return the query for the rows of one range."""
        first = bisect_left(self.changed_keys, key_range.first_run)
        changed_keys = self.changed_keys[first : bisect_right(self.changed_keys, key_range.last_run)]
        of_range = key_range._asdict() | {"changed_keys": _text_form(changed_keys)}
        literals = {**self.literals, **{name: f"'{value}'" for name, value in of_range.items()}}
        return _PARAMETER.sub(lambda match: literals[self.statement.names[int(match[1]) - 1]], self.statement.text)


async def plan_export(connection: Connection, org_id: OrgId, spec: ExportSpec, range_results: int) -> ExportPlan:
    """Return the plan of an export in ranges of about `range_results` results, at the snapshot of the connection."""
    result_filter = spec.filter
    if result_filter.sort is not None:
        range_results = _UNLIMITED  # one range, because rows of several ranges wouldn't be sorted
    position, deleted_to = await _find_position(connection, org_id)
    if spec.changed_after is not None and spec.changed_after < deleted_to:
        raise PositionDeleted
    case_keys = await _case_keys(connection, org_id, result_filter)
    values = _values(org_id, spec, case_keys) | {"range_results": range_results}
    changed_keys = await _changed_keys(connection, spec, values)
    read_once = values | {"changed_keys": changed_keys}
    starts = await compose("export_ranges", **_sources(spec)).fetch_rows(connection, read_once)
    return ExportPlan(
        export_statement(spec),
        await _literals(connection, values),
        split_into_ranges(
            values["first_run"],
            values["last_run"],
            [RangeStart(row["run_key"], row["results"]) for row in starts],
            range_results,
        ),
        sum(row["expected"] for row in starts[:1]) if result_filter.is_countable else None,
        position,
        changed_keys,
    )


def export_statement(spec: ExportSpec) -> Statement:
    """Return the statement for the rows of an export."""
    name = "export_json" if spec.file_format.details.source == "json_lines" else "export_rows"
    order = {"export_order": _ORDERS[spec.filter.sort]} if spec.filter.sort else {}
    if spec.content == "runs":
        name = f"{name}_of_runs"
    return compose(name, columns=_columns(spec), **order, **_sources(spec))


def _sources(spec: ExportSpec) -> dict[str, str]:
    """Return the fragments that differ from those of an export of all results."""
    of_runs = {"run_matches": "run_filters", "export_results": "export_one_row"} if spec.content == "runs" else {}
    return of_runs if spec.changed_after is None else of_runs | {"export_source": "changed_runs"}


def _columns(spec: ExportSpec) -> tuple[str, ...]:
    prefix = "export_run" if spec.content == "runs" else "export"
    return tuple(f"{prefix}_{column}{'_text' if spec.is_text(column) else ''}" for column in spec.columns)


async def _find_position(connection: Connection, org_id: OrgId) -> tuple[str, int]:
    """Return the position of the snapshot in the event stream, and the last event number that was deleted."""
    row = await connection.fetchrow(_SQL["find_position"], org_id)
    return (row["position"], row["deleted_to"]) if row else (str(BEFORE_FIRST), BEFORE_FIRST)


async def _changed_keys(connection: Connection, spec: ExportSpec, values: Mapping[str, Any]) -> list[RunKey]:
    """Return the sorted keys of the changed runs, or an empty list if the export contains all runs."""
    if spec.changed_after is None:
        return []
    return [row["run_key"] for row in await compose("changed_run_keys").fetch_rows(connection, values)]


async def _case_keys(connection: Connection, org_id: OrgId, result_filter: ResultFilter) -> list[int] | None:
    """Return the keys of the cases that the filter selects, or None if it selects no case."""
    if result_filter.case_key is not None:
        return [result_filter.case_key]
    if result_filter.case_id is None:
        return None
    rows = await connection.fetch(_SQL["find_cases"], org_id, result_filter.case_id, result_filter.project_id)
    return [row["case_key"] for row in rows]


def _values(org_id: OrgId, spec: ExportSpec, case_keys: list[int] | None) -> dict[str, Any]:
    """Return the values of all parameters. A query of one range replaces `first_run` and `last_run`."""
    oldest, newest = spec.filter.first_key, spec.filter.before(None).run_key
    return filter_values(org_id, spec.filter, None) | {
        "raw": spec.raw,
        "first_run": oldest,
        "last_run": newest,
        "case_keys": case_keys,
        "changed_after": AFTER_LAST if spec.changed_after is None else spec.changed_after,
        "oldest_run": oldest,
        "newest_run": newest,
    }


async def _literals(connection: Connection, values: Mapping[str, Any]) -> Mapping[str, str]:
    """Return each value as a literal that PostgreSQL has quoted."""
    quoted = await connection.fetchval(_SQL["quote"], [_text_form(value) for value in values.values()])
    return dict(zip(values, quoted, strict=True))


def _text_form(value: Any) -> str | None:
    """Return the text form of a value."""
    if isinstance(value, list):
        return "{" + ",".join(_quoted_element(str(element)) for element in value) + "}"
    return None if value is None else str(value)


def _quoted_element(text: str) -> str:
    escaped = text.replace("\\", "\\\\").replace('"', '\\"')
    return f'"{escaped}"'
