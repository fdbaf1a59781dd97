"""Queries for results: a page of the list and one result."""

from collections.abc import Mapping
from dataclasses import replace
from functools import lru_cache
from typing import Any, Final, NamedTuple
from uuid import UUID

from service.domain.cursors import MAX_CACHED
from service.domain.errors import InvalidRequest
from service.domain.filters import START, Position, ResultFilter
from service.domain.ids import CaseKey, OrgId, RunKey
from service.store.postgres.composition import (
    LOOKUP_BUDGET,
    MAX_READ_ROWS,
    PROBE_BUDGET,
    ROW_BUDGET,
    RUN_BUDGET,
    Statement,
    compose,
)
from service.store.postgres.database import Connection
from service.store.queries.candidate_runs import candidate_runs, find_commits
from service.store.queries.filter_values import filter_values
from service.store.queries.page_ranges import PageRanges, list_id
from service.store.queries.result_items import read_items, write_one

_UNLIMITED: Final = 2**31 - 1
_BUDGETS_OF_ROWS: Final = {
    "rows_with_cases": LOOKUP_BUDGET,
    "rows_of_fingerprint": PROBE_BUDGET,
    "rows_of_case": PROBE_BUDGET,
    "rows_of_case_id": PROBE_BUDGET,
    "rows_of_suite": PROBE_BUDGET,
    "rows_with_durations": PROBE_BUDGET,
}
# The candidates have all columns of the result.
_READ_FACTS: Final = {"all_rows", "all_rows_any", "rows_any", "rows_of_duration", "rows_of_case"}
# The candidates are the rows of the failures that the results show.
_READ_FAILURES: Final = {"all_rows_not_passed", "rows_not_passed", "all_rows_flaky", "rows_flaky"}

Choices = Mapping[str, str | int]  # fragments and numbers of a statement


class ResultPage(NamedTuple):
    """`data` is a JSON array. `next` is the position where the list continues, or None at its end."""

    data: str
    next: Position | None


class Budgets(NamedTuple):
    """The scan budget of one page: the maximum number of runs and of result rows."""

    runs: int = RUN_BUDGET
    rows: int = ROW_BUDGET


BUDGETS: Final = Budgets()
PAGE_RANGES: Final = PageRanges()


async def list_page(
    connection: Connection,
    org_id: OrgId,
    filter_: ResultFilter,
    after: Position | None,
    limit: int,
    budgets: Budgets = BUDGETS,
) -> ResultPage:
    """Return the next results, newest first. A page has fewer than `limit` if it is large or if the budget ends before
    the list does."""
    resolved = await _resolve_case(connection, org_id, filter_)
    if resolved is None:
        return ResultPage("[]", None)
    return await list_resolved_page(connection, org_id, resolved, after, limit, budgets)


async def list_resolved_page(
    connection: Connection,
    org_id: OrgId,
    filter_: ResultFilter,
    after: Position | None,
    limit: int,
    budgets: Budgets = BUDGETS,
) -> ResultPage:
    """Return a page like `list_page`. If the filter has a `case_key`, its `project_id` is that of the case."""
    if filter_.excludes_all:
        return ResultPage("[]", None)
    commits = await find_commits(connection, org_id, filter_)
    choices = _page_choices(filter_, budgets, by_commit=commits is not None)
    values = filter_values(org_id, filter_, after if filter_.sort is None else None)
    values |= {"page": limit, "commits": commits, "after_case": after.case_key if after else None}
    if filter_.run_id is not None:
        run_key = await compose("key_of_run").fetch_value(connection, values)
        if run_key is None:
            return ResultPage("[]", None)
        return await _fetch_page(connection, choices, values | _range_of_run(values, run_key))
    return await _fetch_page_of_months(connection, choices, values, list_id(org_id, filter_))


async def _fetch_page_of_months(
    connection: Connection, choices: Choices, values: dict[str, Any], list_: int
) -> ResultPage:
    """Return a page, from the months that it probably needs if it ends there, or else from the complete range."""
    before = values["before_run"]
    first_key = PAGE_RANGES.first_key(list_, before)
    if first_key is not None and first_key > values["first_key"]:
        page = await _fetch_page(connection, choices, values | {"first_key": first_key})
        if page.next is not None:
            PAGE_RANGES.record(list_, before, page.next.run_key)
            return page
    page = await _fetch_page(connection, choices, values)
    PAGE_RANGES.record(list_, before, page.next and page.next.run_key)
    return page


async def _fetch_page(connection: Connection, choices: Choices, values: Mapping[str, Any]) -> ResultPage:
    row = await compose("page_of_results", **choices).fetch_row(connection, values)
    items, position = await read_items(connection, values["org_id"], row, values["page"])
    if position is None and row["edge_runs"]:
        position = _position(row["edge_runs"][-1], row["edge_cases"][-1])
    return ResultPage(f"[{','.join(items)}]", position)


def _range_of_run(values: Mapping[str, Any], key: RunKey) -> dict[str, Any]:
    """Return the part of the range that contains the results of the run."""
    after_results = RunKey(UUID(int=min(key.int + 1, START.run_key.int)))
    before = min(Position(values["before_run"], values["before_case"]), Position(after_results, START.case_key))
    return {"first_key": max(values["first_key"], key), "before_run": before.run_key, "before_case": before.case_key}


async def check_sortable(
    connection: Connection, org_id: OrgId, filter_: ResultFilter, param: str = "sort"
) -> int | None:
    """Return the revision of the run whose results are sorted, or None if it doesn't exist or nothing is sorted.

    A cursor of another revision is invalid: if results change, the position in the sorted list changes as well. Raises
    InvalidRequest, which names `param`, if the run is too large.
    """
    if filter_.sort is None:
        return None
    rows = await compose("sortable_run").fetch_rows(connection, filter_values(org_id, filter_, None))
    if not rows:
        return None
    if rows[0]["results"] > MAX_READ_ROWS:
        size = rows[0]["results"]
        raise InvalidRequest(f"{param}: sorts at most {MAX_READ_ROWS} results, but the run has {size}", param)
    revision: int = rows[0]["revision"]
    return revision


async def find_one(
    connection: Connection, org_id: OrgId, key: tuple[RunKey, CaseKey], project_id: str | None, link_base: str
) -> str | None:
    """Return one complete result as JSON, or None if the organization, or the given project, doesn't have it."""
    values = {
        "org_id": org_id, "run_key": key[0], "case_key": key[1], "project_id": project_id, "link_base": link_base,
    }  # fmt: skip
    rows = await compose("one_result").fetch_rows(connection, values)
    return write_one(key[0], rows[0]) if rows else None


def page_statement(filter_: ResultFilter, budgets: Budgets = BUDGETS, *, by_commit: bool = False) -> Statement:
    """Return the statement for a filter. If the filter selects one case, its key must be known.

    With `by_commit`, the commits are known that begin with the digits of the filter.
    """
    return compose("page_of_results", **_page_choices(filter_, budgets, by_commit=by_commit))


@lru_cache(MAX_CACHED)
def _page_choices(filter_: ResultFilter, budgets: Budgets, *, by_commit: bool) -> Choices:
    """Return the fragments and budgets of a page."""
    if filter_.sort is not None:
        return _sorted_choices(filter_, filter_.sort)
    if filter_.fingerprint is not None and filter_.run_id is None:
        return _choices(_at_most(budgets, PROBE_BUDGET), examined="results_of_fingerprint", **_failure_checks(filter_))
    of_failures = filter_.excludes_passed and filter_.min_duration_ms is None
    if of_failures and filter_.case_key is not None and filter_.run_id is None:
        return _choices(_at_most(budgets, LOOKUP_BUDGET), examined="rows_not_passed_of_case")
    if filter_.filters_runs or filter_.selects_case:
        return _choices_of_runs(filter_, budgets, by_commit=by_commit)
    if not _filters_rows(filter_):
        return _choices(budgets, examined="all_rows")
    rows = _rows(filter_)
    if rows == "rows_with_durations":
        budgets = _at_most(budgets, PROBE_BUDGET)
        return _choices(budgets, examined=f"all_{rows}", **_checks(f"all_{_rows_of_details(filter_)}", budgets))
    return _choices(budgets, examined=f"all_{rows}")


def _choices_of_runs(filter_: ResultFilter, budgets: Budgets, *, by_commit: bool) -> Choices:
    """Return the fragments of a page that reads the rows of each run."""
    rows = _rows(filter_)
    if rows in _BUDGETS_OF_ROWS:
        budgets = _at_most(budgets, _BUDGETS_OF_ROWS[rows])
    elif rows == "rows_any" and filter_.min_duration_ms is not None:
        rows, budgets = "rows_of_duration", budgets._replace(runs=min(budgets.runs, PROBE_BUDGET))
    checks: Choices = {**_failure_checks(filter_)}
    if rows == "rows_with_cases":
        checks = _checks(_rows_of_statuses(filter_), budgets)
    elif rows == "rows_with_durations":
        checks = _checks(_rows_of_details(filter_), budgets)
    runs = candidate_runs(filter_, by_commit=by_commit)
    return _choices(budgets, examined="rows_of_runs", **checks, **runs, rows=rows)


def _at_most(budgets: Budgets, limit: int) -> Budgets:
    return Budgets(min(budgets.runs, limit), min(budgets.rows, limit))


def _checks(checked_rows: str, budgets: Budgets) -> Choices:
    """Return the fragments for rows of which not every one matches, so the size of a page doesn't limit them."""
    return {"checked_rows": checked_rows, "page_rows": budgets.rows}


def _failure_checks(filter_: ResultFilter) -> dict[str, str]:
    """Return the fragments that check a failure of a group if its details don't contain everything to compare."""
    if filter_.fingerprint is None or replace(filter_, fingerprint=None).is_countable:
        return {}
    return {"failure_matches": "failure_and_case_match", "checked_failure": "checked_failure_and_case"}


def _sorted_choices(filter_: ResultFilter, sort: str) -> Choices:
    """Return the fragments of a sorted list. check_sortable() limits its rows, of which none must be omitted."""
    rows = _rows(filter_)
    found = {"-duration_ms": "value_of_duration", "suite": "value_of_suite"}[sort]
    is_examined = sort == "-duration_ms" and rows in _READ_FACTS
    return {
        "examined": "sorted_rows",
        "rows": rows,
        "checked_rows": _rows_of_statuses(filter_),
        **_failure_checks(filter_),
        "found_value": found,
        "candidate_value": "value_of_examined_duration" if is_examined else found,
        "row_budget": _UNLIMITED,
        "page_rows": _UNLIMITED,
        "facts": "facts_by_key",
    }


def _choices(budgets: Budgets, **choices: str | int) -> Choices:
    return {
        "run_budget": budgets.runs,
        "row_budget": budgets.rows,
        **choices,
        **_facts(choices.get("rows", choices["examined"])),
    }


def _facts(candidates: str | int) -> dict[str, str]:
    """Return the fragments that read what the candidates don't contain."""
    if candidates in _READ_FACTS:
        return {"facts": "facts_examined"}
    if candidates in _READ_FAILURES:
        return {"facts": "facts_by_key", "summary": "summary_of_candidate"}
    return {"facts": "facts_by_key"}


def _rows(filter_: ResultFilter) -> str:
    """Choose how the rows of one run are read."""
    if filter_.fingerprint is not None:
        return "rows_of_fingerprint"
    if filter_.case_key is not None:
        return "rows_of_case"
    if filter_.case_id is not None:
        return "rows_of_case_id"
    if filter_.suite is not None:
        return "rows_of_suite"
    if filter_.variants or filter_.words:
        return "rows_with_cases"
    if filter_.min_duration_ms is not None and filter_.sort is None and _has_details(filter_):
        return "rows_with_durations"
    return _rows_of_statuses(filter_)


def _rows_of_statuses(filter_: ResultFilter) -> str:
    """Choose the rows that contain everything that the filters of statuses, flaky, and durations compare."""
    return _rows_of_details(filter_) if _has_details(filter_) and filter_.min_duration_ms is None else "rows_any"


def _rows_of_details(filter_: ResultFilter) -> str:
    return "rows_flaky" if filter_.flaky else "rows_not_passed"


def _filters_rows(filter_: ResultFilter) -> bool:
    return bool(filter_.statuses) or filter_.flaky is not None or filter_.min_duration_ms is not None


def _has_details(filter_: ResultFilter) -> bool:
    """Return whether all results that match have details."""
    return filter_.excludes_passed or filter_.flaky is True


async def _resolve_case(connection: Connection, org_id: OrgId, filter_: ResultFilter) -> ResultFilter | None:
    """Return the filter with the key and project of its case if it selects one, or None if no such case exists."""
    if not filter_.selects_case:
        return filter_
    statement = compose("cases_of_key" if filter_.case_key is not None else "cases_of_id")
    rows = await statement.fetch_rows(connection, filter_values(org_id, filter_, None))
    if not rows or (filter_.case_id is not None and filter_.case_id != rows[0]["case_id"]):
        return None
    if len(rows) > 1:
        return filter_
    return replace(filter_, case_key=CaseKey(rows[0]["case_key"]), project_id=rows[0]["project_id"])


def _position(run_key: RunKey, case_key: CaseKey | None) -> Position:
    return Position.after_run(run_key) if case_key is None else Position(run_key, case_key)
