"""Queries for cases with statistics over their last runs."""

from typing import Any, Final, NamedTuple

from service.domain.filters import ResultFilter
from service.domain.ids import CaseKey, OrgId
from service.domain.rankings import MAX_FILTERED_CASES, Ranking
from service.domain.rows import CaseRow, RankedCases
from service.store.postgres.composition import MAX_READ_ROWS, compose
from service.store.postgres.database import Connection, Row
from service.store.queries.filter_values import filter_values
from service.store.queries.pages import RowPage, cut_page

_FIELDS: Final = len(CaseRow._fields)


class CasePosition(NamedTuple):
    """A position in the list of cases of a project."""

    suite_hash: int
    case_key: CaseKey


_START: Final = CasePosition(-(2**63), CaseKey(-(2**63)))


class RankingBudgets(NamedTuple):
    """The maximum number of rows to read, and of ranked cases to compare with the filters."""

    rows: int = MAX_READ_ROWS
    cases: int = MAX_FILTERED_CASES


_BUDGETS: Final = RankingBudgets()


async def list_page(
    connection: Connection,
    org_id: OrgId,
    project_id: str,
    suite: str | None,
    runs: int,
    after: CasePosition | None,
    limit: int,
) -> RowPage[CaseRow, CasePosition]:
    """Return the next cases of the project, or of one suite, with statistics over their last `runs` runs."""
    after_suite, after_case = after or _START
    values = {
        "org_id": org_id, "project_id": project_id, "suite": suite, "runs": runs, "page": limit,
        "after_suite": after_suite, "after_case": after_case,
    }  # fmt: skip
    rows = await compose("page_of_cases").fetch_rows(connection, values)
    positions = {row["case_key"]: CasePosition(row["suite_hash"], row["case_key"]) for row in rows}
    return cut_page(list(map(_case, rows)), limit, None, lambda case: positions[case.case_key])


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
