"""The list of results: which statement finds the rows of a page, and the rows of given keys.

| Filter | Statements of results/queries.sql |
|---|---|
| none, or statuses with passed, or durations | `all_results` |
| statuses without passed | `all_not_passed`, from the smaller table of details |
| an owner, with passed results | a statement of runs/candidates.py, and then `results_of_owner_in_runs` |
| `flaky=true` | `all_flaky_results` |
| one case with statuses without passed · group of failures | `not_passed_of_case` · `failures_of_group` |
| other `case` or `case_id` | a statement of runs/candidates.py, and then `…_in_runs` |
| of runs, also the project of a key | a statement of runs/candidates.py, and then `…_of_runs` or `…_in_runs` |
| sort | the run, and then `sorted_by_…` |

tests/database/snapshots has the complete text of each statement, such as all_not_passed.sql.

A *candidate* is a row that a statement examines, in the order of the list. Its *fact* is its row of `results`, with
`matches` if it passes the filters of results and runs. A *budget* is the maximum number of candidates, or of other
rows, that a statement examines for one page. The *edge* is the last candidate within the budget, with `is_edge`: the
next page starts after it even if it doesn't match.

A page ends in one of three ways:

- More rows match than the page returns, because of `limit` or MAX_PAGE_BYTES. The cursor contains the position of the
  last row.
- Otherwise, if the budget ended, the cursor contains the position of the edge, or of the last run that was examined.
- Otherwise, the list has ended. The page has no cursor.

Example: `status=failed` with `limit=2`. Each candidate matches, so `all_not_passed` examines at most 3 (`:rows`): the
third one shows that the list continues. A first read covers the last 6 months. If it finds fewer than 3, a second read
covers the complete range.

Example: `status=failed&min_duration_ms=500` with `limit=2`, and a budget of 4 (in fact 150). `all_not_passed` finds:

| Candidate | Fact | |
|---|---|---|
| run 9, case 7 | failed, 800 ms | matches: a row of the page |
| run 9, case 3 | failed, 20 ms | |
| run 8, case 5 | failed, 10 ms | |
| run 8, case 2 | failed, 90 ms | the edge |
| run 6, case 7 | failed, 900 ms | not examined |

The page has one row, and its cursor contains the position of the edge: run 8, case 2. So the next page starts with
run 6.
"""

import time
from collections.abc import Mapping, Sequence
from dataclasses import replace
from datetime import UTC, datetime
from typing import Any, Final, NamedTuple
from uuid import UUID

import asyncpg
import orjson

from service.database.database import Connection, Row
from service.database.pages import RowPage, cut_page, filter_values
from service.database.statements import LOOKUP_BUDGET, MAX_READ_ROWS, PROBE_BUDGET, ROW_BUDGET, RUN_BUDGET, compose
from service.domain.errors import InvalidRequest
from service.domain.filters import START, Position, ResultFilter
from service.domain.ids import CaseKey, OrgId, RunKey, completed_ms, first_run_key
from service.domain.timestamps import format_ms, from_ms, to_ms
from service.results.model import UNKNOWN_DURATION_MS, started_ms
from service.results.rows import AttemptRow, FailureRow, ResultDetailRow, ResultRow, RunOfResults
from service.runs.candidates import CandidateRun, find_commits, find_runs
from service.runs.store import RUN_COLUMNS, run_row

_COLUMN_COUNT: Final = len(ResultRow._fields)  # of the fragment `result_fields`, in the same order
_AFTER_RUNS: Final = _COLUMN_COUNT + 7

_FIRST_RUNS: Final = 32  # that a page reads first, at most
_FIRST_MONTH: Final = 1970 * 12
_SORTED: Final = {"-duration_ms": "sorted_by_duration", "suite": "sorted_by_suite"}
ResultPage = RowPage[ResultRow, Position]
_EMPTY: Final[ResultPage] = RowPage((), None)


class FoundResults(NamedTuple):
    """The results that match, and the edge, or None if the statement examined everything in its range."""

    rows: Sequence[ResultRow]
    edge: Position | None


def found_results(record: asyncpg.Record) -> FoundResults:
    """Return the results of a statement that ends in `read_results`, whose record has an array for each column."""
    columns, runs = record[:_COLUMN_COUNT], record[_COLUMN_COUNT:_AFTER_RUNS]
    edge_runs, edge_cases = record[_AFTER_RUNS:]
    edge = Position(edge_runs[-1], edge_cases[-1]) if edge_runs else None
    if columns[0] is None:
        return FoundResults((), edge)
    by_key = {fields[0]: run_of_results(*fields) for fields in zip(*runs, strict=True)}
    rows = [result_row(row, run) for row in zip(*columns, strict=True) if (run := by_key.get(row[0])) is not None]
    return FoundResults(rows, edge)


def run_of_results(
    key: RunKey,
    run_id: str,
    project_id: str,
    environment: str | None,
    branch: str | None,
    commit_sha: str | None,
    trusted: bool,
) -> RunOfResults:
    """Return the fields that the results of a run share. The key begins with the completion time."""
    completed = completed_ms(key)
    return RunOfResults(
        key, run_id, project_id, environment, branch, commit_sha, completed, format_ms(completed), trusted
    )


def result_row(columns: Sequence[Any], run: RunOfResults) -> ResultRow:
    """Return the result with these columns and this run."""
    _, case_key, case_id, variant, *same, duration_ms, start_ms, summary, fingerprint = columns
    pairs = {} if variant == "{}" else orjson.loads(variant)
    known_ms = None if duration_ms == UNKNOWN_DURATION_MS else duration_ms
    start = started_ms(start_ms, run.completed_ms)
    return ResultRow._make((run, case_key, case_id, pairs, *same, known_ms, start, summary, fingerprint))


class Budgets(NamedTuple):
    """The scan budget of one page: the maximum number of runs and of result rows."""

    runs: int = RUN_BUDGET
    rows: int = ROW_BUDGET

    def at_most(self, limit: int) -> "Budgets":
        """Return the budgets with this limit for both."""
        return Budgets(min(self.runs, limit), min(self.rows, limit))


BUDGETS: Final = Budgets()


class Search(NamedTuple):
    """A statement that finds results, its scan budget, and how many months before the position it reads first."""

    name: str
    budgets: Budgets
    months: int = 6


async def list_page(
    connection: Connection,
    org_id: OrgId,
    filter_: ResultFilter,
    after: Position | None,
    limit: int,
    budgets: Budgets = BUDGETS,
) -> ResultPage:
    """Return the next results, newest first.

    A page has fewer than `limit` rows at the end of the list, if the rows exceed MAX_PAGE_BYTES, or if the budget ends
    first. Only the first case has no cursor.
    """
    resolved = await _resolve_case(connection, org_id, filter_)
    if resolved is None:
        return _EMPTY
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
        return _EMPTY
    if filter_.sort is not None:
        return await _list_sorted(connection, org_id, filter_, after, limit)
    direct = direct_search(filter_, budgets)
    if direct is None:
        return await _list_of_runs(connection, org_id, filter_, after, limit, budgets)
    return await _list_directly(connection, direct, filter_values(org_id, filter_, after), filter_, limit)


async def _list_directly(
    connection: Connection, search: Search, values: dict[str, Any], filter_: ResultFilter, limit: int
) -> ResultPage:
    """Return a page from the months before the position, or, if they have too few results, from the complete range.

    PostgreSQL opens every monthly partition in the range before the first row, so the first statement covers few
    months.
    """
    values |= _row_limits(filter_, search.budgets.rows, limit)
    found, recent = None, _first_recent_key(values["before_run"], search.months)
    if recent > values["first_key"]:
        found = await _fetch(connection, search.name, values | {"first_key": recent})
    if found is None or (len(found.rows) <= limit and found.edge is None):
        found = await _fetch(connection, search.name, values)
    return cut_page(found.rows, limit, found.edge, _position)


async def _list_of_runs(
    connection: Connection, org_id: OrgId, filter_: ResultFilter, after: Position | None, limit: int, budgets: Budgets
) -> ResultPage:
    """Return a page of the results of candidate runs: first of a few runs, and then of all within the budget."""
    search = search_in_runs(filter_, budgets)
    commits = await find_commits(connection, org_id, filter_)
    rows: list[ResultRow] = []
    end = after
    for count in (_first_runs(filter_, limit), search.budgets.runs):
        values = filter_values(org_id, filter_, end) | {"commits": commits}
        if filter_.is_countable:  # each run has a result that matches, except perhaps the run of the position
            count = min(count, limit + 2 - len(rows))
        candidates = await find_runs(connection, filter_, values, count, search.budgets.runs)
        chosen = _choose_runs(filter_, candidates.runs, end, limit + 1 - len(rows))
        if chosen:
            values |= _row_limits(filter_, search.budgets.rows, limit - len(rows))
            found = await _fetch(connection, search.name, values | _values_of_runs(values, chosen))
            rows += found.rows
            end = found.edge or Position.after_run(chosen[-1].run_key)
            if len(rows) > limit or found.edge is not None or len(chosen) < len(candidates.runs):
                break
        if candidates.is_end or candidates.edge is not None:
            end = None if candidates.edge is None else Position.after_run(candidates.edge)
            break
    return cut_page(rows, limit, end, _position)


async def _list_sorted(
    connection: Connection, org_id: OrgId, filter_: ResultFilter, after: Position | None, limit: int
) -> ResultPage:
    """Return a page of the sorted results of one run. check_sortable() limits their number."""
    values = filter_values(org_id, filter_, None) | {"commits": None}
    candidates = await find_runs(connection, filter_, values, 1, 1)
    if not candidates.runs:
        return _EMPTY
    run = candidates.runs[0]
    values |= {
        "run_key": run.run_key, "first_key": run.run_key, "before_run": run.run_key, "page": limit,
        "after_case": after and after.case_key,
        "has_details": _has_details(filter_) or filter_.fingerprint is not None,
        "filters_cases": _filters_cases(filter_),
    }  # fmt: skip
    found = await _fetch(connection, _SORTED[filter_.sort or ""], values)
    return cut_page(found.rows, limit, None, _position)


async def find_by_keys(
    connection: Connection, org_id: OrgId, keys: Sequence[tuple[RunKey, CaseKey]]
) -> Sequence[ResultRow]:
    """Return the results with these keys, in this order: only the first ones if they are large.

    Deleted results are omitted.
    """
    if not keys:
        return []
    run_keys = [run_key for run_key, _ in keys]
    values = filter_values(org_id, ResultFilter(), None) | {
        "run_keys": run_keys, "case_keys": [case_key for _, case_key in keys], "page": len(keys),
        "first_key": min(run_keys), "before_run": max(run_keys),
    }  # fmt: skip
    found = await _fetch(connection, "results_of_keys", values)
    return cut_page(found.rows, len(keys), None, _position).rows


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


def direct_search(filter_: ResultFilter, budgets: Budgets = BUDGETS) -> Search | None:
    """Return the search that finds results in the order of the list, or None if it examines runs first."""
    if filter_.fingerprint is not None and filter_.run_id is None:
        return Search("failures_of_group", budgets.at_most(PROBE_BUDGET))
    if filter_.excludes_passed and filter_.case_key is not None and filter_.run_id is None:
        return Search("not_passed_of_case", budgets.at_most(LOOKUP_BUDGET))
    if filter_.filters_runs or filter_.selects_case:
        return None
    if not _has_details(filter_):
        return Search("all_results", budgets, months=1) if filter_.owner is None else None
    if filter_.owner is not None:
        budgets = budgets.at_most(LOOKUP_BUDGET)
    name = "all_flaky_results" if filter_.flaky else "all_not_passed"
    return Search(name, budgets if filter_.min_duration_ms is None else budgets.at_most(PROBE_BUDGET))


def search_in_runs(filter_: ResultFilter, budgets: Budgets = BUDGETS) -> Search:
    """Return the search that reads the results of runs."""
    if filter_.fingerprint is not None:
        return Search("failures_of_group_in_runs", budgets.at_most(PROBE_BUDGET))
    if filter_.case_key is not None:
        return Search("results_of_case_in_runs", budgets.at_most(PROBE_BUDGET))
    if filter_.case_id is not None:
        return Search("results_of_case_id_in_runs", budgets.at_most(PROBE_BUDGET))
    if filter_.suite is not None:
        return Search("results_of_suite_in_runs", budgets.at_most(PROBE_BUDGET))
    if filter_.owner is not None and not _has_details(filter_):
        return Search("results_of_owner_in_runs", budgets.at_most(PROBE_BUDGET))
    if _filters_cases(filter_):
        budgets = budgets.at_most(LOOKUP_BUDGET)
    if _has_details(filter_):
        name = "flaky_results_of_runs" if filter_.flaky else "not_passed_of_runs"
        return Search(name, budgets if filter_.min_duration_ms is None else budgets.at_most(PROBE_BUDGET))
    if filter_.min_duration_ms is not None:  # each run might have no long result
        budgets = budgets._replace(runs=min(budgets.runs, PROBE_BUDGET))
    return Search("results_of_runs", budgets)


def _has_details(filter_: ResultFilter) -> bool:
    """Return whether all results that match have details."""
    return filter_.excludes_passed or filter_.flaky is True


def _filters_cases(filter_: ResultFilter) -> bool:
    of_texts = filter_.suite is not None or bool(filter_.variants or filter_.words)
    return filter_.selects_case or of_texts or filter_.owner is not None


def _row_limits(filter_: ResultFilter, budget: int, limit: int) -> dict[str, int]:
    """Return the parameters for a page of at most `limit` rows.

    `rows` is the maximum number of results that didn't pass to examine. If each of them matches, one more than `limit`
    is sufficient: it shows that the list continues. Otherwise, it is the budget.
    """
    every_matches = filter_.min_duration_ms is None and not _filters_cases(filter_)
    return {"page": limit, "row_budget": budget, "rows": min(limit + 1, budget) if every_matches else budget}


def _first_runs(filter_: ResultFilter, limit: int) -> int:
    """Return the number of runs to read first. Each of them has at most one result of a case."""
    return max(_FIRST_RUNS, limit + 1) if filter_.case_key is not None else _FIRST_RUNS


def _first_recent_key(before: RunKey, months: int) -> RunKey:
    """Return the first key of the month that is some months before the one of a position, or of now."""
    now_ms = time.time_ns() // 1_000_000
    newest = from_ms(min(completed_ms(before), now_ms))
    month = max(newest.year * 12 + newest.month - 1 - months, _FIRST_MONTH)
    return first_run_key(to_ms(datetime(month // 12, month % 12 + 1, 1, tzinfo=UTC)))


def _choose_runs(
    filter_: ResultFilter, candidates: Sequence[CandidateRun], after: Position | None, limit: int
) -> list[CandidateRun]:
    """Return the first runs that have `limit` results together, or all if their counts don't state how many match.

    The run of the position doesn't count, because its count doesn't state how many of its results are left.
    """
    chosen, total = [], 0
    for candidate in candidates:
        chosen.append(candidate)
        if after is None or candidate.run_key != after.run_key:
            total += candidate.results
        if filter_.is_countable and total >= limit:
            break
    return chosen


def _values_of_runs(values: Mapping[str, Any], runs: Sequence[CandidateRun]) -> dict[str, Any]:
    """Return the parameters for runs, newest first, with the part of the range that contains their results."""
    run_keys = [run.run_key for run in runs]
    after_newest = Position(RunKey(UUID(int=min(run_keys[0].int + 1, START.run_key.int))), START.case_key)
    before = min(Position(values["before_run"], values["before_case"]), after_newest)
    return {
        "run_keys": run_keys,
        "project_ids": [run.project_id for run in runs],
        "first_key": run_keys[-1],
        "before_run": before.run_key,
        "before_case": before.case_key,
    }


async def _fetch(connection: Connection, name: str, values: Mapping[str, Any]) -> FoundResults:
    return found_results(await compose(name).fetch_row(connection, values))


def _position(row: ResultRow) -> Position:
    return Position(row.run.run_key, row.case_key)


async def _resolve_case(connection: Connection, org_id: OrgId, filter_: ResultFilter) -> ResultFilter | None:
    """Return the filter with the key and project of its case if it selects one, or None if no such case exists."""
    if not filter_.selects_case:
        return filter_
    name = "cases_of_key" if filter_.case_key is not None else "cases_of_id"
    rows = await compose(name).fetch_rows(connection, filter_values(org_id, filter_, None))
    if not rows or (filter_.case_id is not None and filter_.case_id != rows[0]["case_id"]):
        return None
    if len(rows) > 1:
        return filter_
    return replace(filter_, case_key=CaseKey(rows[0]["case_key"]), project_id=rows[0]["project_id"])


async def find_one(
    connection: Connection, org_id: OrgId, key: tuple[RunKey, CaseKey], project_id: str | None
) -> ResultDetailRow | None:
    """Return one complete result, or None if the organization, or the given project, doesn't have it."""
    run_key, case_key = key
    values = {
        "org_id": org_id, "run_key": run_key, "case_key": case_key, "project_id": project_id,
        "first_key": run_key, "before_run": run_key,
    }  # fmt: skip
    rows = await compose("one_result").fetch_rows(connection, values)
    return _detail(rows[0]) if rows else None


def _detail(row: Row) -> ResultDetailRow:
    organization_id, line, properties, logs_ref, *failure, part, job_attempt, attempts = row[
        _COLUMN_COUNT + RUN_COLUMNS :
    ]
    run = run_row(row[_COLUMN_COUNT:], organization_id)
    result = result_row(
        row[:_COLUMN_COUNT],
        run_of_results(
            run.run_key, run.run_id, run.project_id, run.environment, run.branch, run.commit_sha, run.trusted
        ),
    )
    only = AttemptRow(1, result.status, result.duration_ms, result.started_ms, None, None, job_attempt)
    listed = list(map(_attempt, attempts)) if attempts else [only]
    return ResultDetailRow(result, run, line, properties, logs_ref, _failure(*failure), part, listed)


def _attempt(fields: tuple[Any, ...]) -> AttemptRow:
    number, status, duration_ms, started_ms, *failure, logs_ref, job_attempt = fields
    return AttemptRow(number, status, duration_ms, started_ms, _failure(*failure), logs_ref, job_attempt)


def _failure(type_: str | None, message: str | None, details: str | None) -> FailureRow | None:
    is_known = type_ is not None or message is not None or details is not None
    return FailureRow(type_, message, details) if is_known else None
