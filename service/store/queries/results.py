"""Reads results: a page of the list as JSON that PostgreSQL wrote, or one in full."""

from dataclasses import replace
from typing import Final, NamedTuple

from service.domain.filters import Position, ResultFilter
from service.domain.ids import CaseKey, OrgId, RunKey
from service.store.postgres.composition import PROBE_BUDGET, ROW_BUDGET, RUN_BUDGET, Statement, compose
from service.store.postgres.database import Connection
from service.store.postgres.statements import statements
from service.store.queries.filter_values import filter_values

_CASES: Final = statements("cases")
_PROBES: Final = ("rows_of_case", "rows_of_case_id", "rows_of_suite")  # a look-up or two for each candidate
_INDEXED_STATUSES: Final = {
    "f": "driver_project_with_failed",
    "e": "driver_project_with_error",
    "s": "driver_project_with_skipped",
    "c": "driver_project_with_canceled",
}


class ResultPage(NamedTuple):
    """`data` is a JSON array; `next` is where the list goes on, None at its end."""

    data: str
    next: Position | None


class Budgets(NamedTuple):
    """How far one page looks."""

    runs: int = RUN_BUDGET
    rows: int = ROW_BUDGET


BUDGETS: Final = Budgets()


async def list_page(
    connection: Connection,
    org_id: OrgId,
    wanted: ResultFilter,
    after: Position | None,
    limit: int,
    budgets: Budgets = BUDGETS,
) -> ResultPage:
    """The next results of the list, newest first; fewer than `limit` where the budget ends before the list does."""
    known = await _with_its_case(connection, org_id, wanted)
    if known is None:
        return ResultPage("[]", None)
    statement = page_statement(known, budgets)
    row = await statement.fetch_row(connection, filter_values(org_id, known, after) | {"page": limit})
    return ResultPage(row["data"], _position(row["run_key"], row["case_key"]))


async def find_one(
    connection: Connection, org_id: OrgId, key: tuple[RunKey, CaseKey], project_id: str | None, link_base: str
) -> str | None:
    """One result in full, as JSON; None where there is none in the organization, or in the project if one is given."""
    statement = compose("one_result")
    values = {
        "org_id": org_id, "run_key": key[0], "case_key": key[1], "project_id": project_id, "link_base": link_base,
    }  # fmt: skip
    text: str | None = await statement.fetch_value(connection, values)
    return text


def page_statement(wanted: ResultFilter, budgets: Budgets = BUDGETS) -> Statement:
    """The statement for a filter whose case, if it has one, is known by its key: candidates × rows."""
    if wanted.case_key is not None and wanted.excludes_passed and wanted.run_id is None:
        return _compose(budgets, examined="not_passed_of_case")
    if not (wanted.filters_runs or wanted.selects_case):
        return _compose(budgets, examined="not_passed_alone" if wanted.excludes_passed else "rows_alone")
    rows = _rows(wanted)
    if rows in _PROBES:
        budgets = Budgets(min(budgets.runs, PROBE_BUDGET), min(budgets.rows, PROBE_BUDGET))
    return _compose(budgets, examined="rows_of_runs", driver=_driver(wanted), rows=rows)


def _compose(budgets: Budgets, **chosen: str) -> Statement:
    return compose("page", run_budget=budgets.runs, row_budget=budgets.rows, **chosen)


def _driver(wanted: ResultFilter) -> str:
    """The index on runs that leaves the fewest candidates."""
    if wanted.run_id is not None:
        return "driver_run"
    if wanted.project_id is not None and wanted.branch is not None:
        return "driver_project_and_branch"
    if wanted.project_id is not None:
        only = wanted.statuses[0] if len(wanted.statuses) == 1 else ""
        return _INDEXED_STATUSES.get(only, "driver_project")
    if wanted.branch is not None:
        return "driver_branch"
    return "driver_environment" if wanted.environment is not None else "driver_nothing"


def _rows(wanted: ResultFilter) -> str:
    """How the rows of one run are taken."""
    if wanted.case_key is not None:
        return "rows_of_case"
    if wanted.case_id is not None:
        return "rows_of_case_id"
    if wanted.suite is not None:
        return "rows_of_suite"
    return "rows_not_passed" if wanted.excludes_passed else "rows_any"


async def _with_its_case(connection: Connection, org_id: OrgId, wanted: ResultFilter) -> ResultFilter | None:
    """The filter with the case's key and project where it is one case; None where there is no such case."""
    if not wanted.selects_case:
        return wanted
    name = "find_key" if wanted.case_key is not None else "find_id"
    sought = wanted.case_key if wanted.case_key is not None else wanted.case_id
    rows = await connection.fetch(_CASES[name], org_id, sought, wanted.project_id, wanted.suite)
    if not rows or (wanted.case_id is not None and wanted.case_id != rows[0]["case_id"]):
        return None
    if len(rows) > 1:
        return wanted
    return replace(wanted, case_key=CaseKey(rows[0]["case_key"]), project_id=rows[0]["project_id"])


def _position(run_key: RunKey | None, case_key: CaseKey | None) -> Position | None:
    if run_key is None:
        return None
    return Position.after_run(run_key) if case_key is None else Position(run_key, case_key)
