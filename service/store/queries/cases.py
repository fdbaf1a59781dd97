"""Queries for cases with statistics over their last runs."""

import re
from collections.abc import Mapping
from typing import Any, Final, NamedTuple

from service.domain.filters import ResultFilter
from service.domain.ids import CaseKey, OrgId
from service.domain.rankings import MAX_FILTERED_CASES, Ranking
from service.domain.rows import CaseRow, RankedCases
from service.store.postgres.composition import MAX_READ_ROWS, PROBE_BUDGET, SEARCHED_CASES, Statement, compose
from service.store.postgres.database import Connection, Row
from service.store.queries.filter_values import filter_values
from service.store.queries.pages import RowPage, cut_page

_FIELDS: Final = len(CaseRow._fields)
_WILDCARD: Final = re.compile(r"[%_\\]")  # of LIKE
_ESCAPED: Final = r"\\\g<0>"


class CasePosition(NamedTuple):
    """A position in the list of cases of a project."""

    suite_hash: int
    case_key: CaseKey


_START: Final = CasePosition(-(2**63), CaseKey(-(2**63)))


class RankingBudgets(NamedTuple):
    """The maximum number of rows to read, and of ranked cases to compare with the filters."""

    rows: int = MAX_READ_ROWS
    cases: int = MAX_FILTERED_CASES


class SearchBudgets(NamedTuple):
    """The maximum number of cases to compare with words and variants, and of those to look up in runs."""

    cases: int = SEARCHED_CASES
    lookups: int = PROBE_BUDGET


_BUDGETS: Final = RankingBudgets()
_SEARCH_BUDGETS: Final = SearchBudgets()


async def list_page(
    connection: Connection,
    org_id: OrgId,
    filter_: ResultFilter,
    runs: int,
    after: CasePosition | None,
    limit: int,
    budgets: SearchBudgets = _SEARCH_BUDGETS,
) -> RowPage[CaseRow, CasePosition]:
    """Return the next cases of the project of the filter, with statistics over their last `runs` runs.

    The filter can also have a suite, a branch and a range of runs, and words and variants of cases. With a branch or a
    range, only these runs count, and cases without a result in the newest of them aren't listed.

    A page has fewer than `limit` if the scan budget ends before the list does.
    """
    values = _list_values(org_id, filter_, runs, after, limit)
    if _searches(filter_):
        return await _search_page(connection, filter_, values, limit, budgets)
    rows = await page_statement(searches=False).fetch_rows(connection, values)
    positions = {row["case_key"]: _position(row) for row in rows}
    return cut_page(list(map(_case, rows)), limit, None, lambda case: positions[case.case_key])


def page_statement(*, searches: bool) -> Statement:
    """Return the statement that reads a page of cases: of those that a search has found, or of the next ones."""
    return compose("page_of_cases", listed_cases="found_cases" if searches else "next_cases")


async def _search_page(
    connection: Connection, filter_: ResultFilter, values: Mapping[str, Any], limit: int, budgets: SearchBudgets
) -> RowPage[CaseRow, CasePosition]:
    """Find the cases of the page first, and then read them with their statistics."""
    found = await _search(connection, filter_, values, limit, budgets)
    hashes, keys = zip(*found.rows, strict=True) if found.rows else ((), ())
    listed = {**values, "suite_hashes": hashes, "case_keys": keys}
    cases = await page_statement(searches=True).fetch_rows(connection, listed) if keys else ()
    return RowPage(list(map(_case, cases)), found.next)


async def _search(
    connection: Connection, filter_: ResultFilter, values: Mapping[str, Any], limit: int, budgets: SearchBudgets
) -> RowPage[CasePosition, CasePosition]:
    """Return the positions of the cases of the page."""
    requires_result = _filters_runs(filter_)
    candidates = budgets.lookups if requires_result else limit + 1
    search = {"candidates": candidates, "requires_result": requires_result, **_word_values(filter_)}
    statement = compose("search_of_cases", searched_cases=budgets.cases)
    rows = await statement.fetch_rows(connection, {**values, **search})
    found = [_position(row) for row in rows if row["matches"]]
    if len(found) > limit:
        return RowPage(found[:limit], found[limit - 1])
    ends_early = bool(rows) and (len(rows) == candidates or rows[-1]["is_edge"])
    return RowPage(found, _position(rows[-1]) if ends_early else None)


def _position(row: Row) -> CasePosition:
    return CasePosition(row["suite_hash"], row["case_key"])


def _list_values(
    org_id: OrgId, filter_: ResultFilter, runs: int, after: CasePosition | None, limit: int
) -> dict[str, Any]:
    after_suite, after_case = after or _START
    position = {"after_suite": after_suite, "after_case": after_case}
    return filter_values(org_id, filter_, None) | position | {"runs": runs, "page": limit}


def _word_values(filter_: ResultFilter) -> dict[str, Any]:
    """Return the words as patterns. In ASCII, other letters can be compared without a change of their case."""
    patterns = [f"%{_WILDCARD.sub(_ESCAPED, word)}%" for word in filter_.words]
    return {"patterns": patterns or None, "is_ascii": all(map(str.isascii, filter_.words))}


def _searches(filter_: ResultFilter) -> bool:
    return bool(filter_.words or filter_.variants) or _filters_runs(filter_)


def _filters_runs(filter_: ResultFilter) -> bool:
    return (filter_.branch, filter_.from_ms, filter_.to_ms) != (None, None, None)


async def find_one(
    connection: Connection, org_id: OrgId, case_key: CaseKey, project_id: str | None, runs: int
) -> CaseRow | None:
    """Return one case, or None if the organization, or the given project, doesn't have it."""
    project_id = await find_project(connection, org_id, case_key, project_id)
    if project_id is None:
        return None
    values = {"org_id": org_id, "case_key": case_key, "project_id": project_id, "runs": runs}
    rows = await compose("one_case").fetch_rows(connection, values)
    return _case(rows[0]) if rows else None


async def list_other_variants(
    connection: Connection, org_id: OrgId, case_key: CaseKey, project_id: str, runs: int, limit: int
) -> list[CaseRow]:
    """Return the first `limit` cases that differ from a case only in their variants, with statistics.

    For a case without an ID of the producer, it examines a limited number of the cases of its suite.
    """
    values = {"org_id": org_id, "case_key": case_key, "project_id": project_id, "runs": runs, "page": limit}
    return list(map(_case, await compose("other_variants").fetch_rows(connection, values)))


async def find_project(connection: Connection, org_id: OrgId, case_key: CaseKey, project_id: str | None) -> str | None:
    """Return the project of a case, or None if the organization, or the given project, doesn't have the case."""
    values = {"org_id": org_id, "case_key": case_key, "project_id": project_id}
    found: str | None = await compose("case_project").fetch_value(connection, values)
    return found


async def list_ranked(
    connection: Connection,
    org_id: OrgId,
    filter_: ResultFilter,
    ranking: Ranking,
    runs: int,
    limit: int,
    budgets: RankingBudgets = _BUDGETS,
) -> RankedCases:
    """Return the cases of a project with the most failing or flaky results in its newest `runs` runs, or with the
    longest durations in its newest complete run with executed results.

    The filter has a project, and a branch, suite, words, or variants. The statistics cover the ranked runs.
    """
    values = filter_values(org_id, filter_, None) | ranking_values(filter_, runs, limit, budgets)
    rows = await compose(f"ranked_by_{ranking}").fetch_rows(connection, values)
    return RankedCases([_case(row) for row in rows if row["case_key"] is not None], rows[0]["truncated"])


def ranking_values(filter_: ResultFilter, runs: int, limit: int, budgets: RankingBudgets = _BUDGETS) -> dict[str, Any]:
    """Return the parameters of a ranking. Without filters of cases, it ranks only as many cases as it lists."""
    filters_cases = filter_.suite is not None or bool(filter_.words or filter_.variants)
    return {
        "runs": runs, "page": limit, "row_budget": budgets.rows, "ranked": budgets.cases if filters_cases else limit,
    }  # fmt: skip


def _case(row: Row) -> CaseRow:
    return CaseRow(*row[:_FIELDS])
