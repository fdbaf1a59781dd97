"""Queries for cases with statistics over their last runs."""

from collections.abc import Mapping
from typing import Final, NamedTuple

from service.domain.filters import ResultFilter
from service.domain.ids import CaseKey, OrgId
from service.domain.rankings import MAX_FILTERED_CASES, Ranking
from service.store.postgres import composition
from service.store.postgres.composition import MAX_READ_ROWS, MAX_READ_RUNS, Statement, compose
from service.store.postgres.database import Connection
from service.store.queries.filter_values import filter_values

# The number of newest runs of the project in which a case is looked up. If it occurs in few of them, its statistics
# cover fewer runs than the client requested.
_WINDOW_IN_LISTS: Final = 200
_WINDOW_ALONE: Final = MAX_READ_RUNS

MAX_VARIANTS: Final = 20


class CasePosition(NamedTuple):
    """A position in the list of cases of a project."""

    suite_hash: int
    case_key: CaseKey


_START: Final = CasePosition(-(2**63), CaseKey(-(2**63)))


class CasePage(NamedTuple):
    """`data` is a JSON array. `next` is the position where the list continues, or None at its end."""

    data: str
    next: CasePosition | None


class RankedCases(NamedTuple):
    """`data` is a JSON array. `truncated` states that a scan budget ended before the ranking did."""

    data: str
    truncated: bool


class RankingBudgets(NamedTuple):
    """The maximum number of rows to read, and of ranked cases to compare with the filters."""

    rows: int = MAX_READ_ROWS
    cases: int = MAX_FILTERED_CASES


class _RankingFragments(NamedTuple):
    ranked_runs: str
    ranked_results: str
    is_incomplete: str


_BUDGETS: Final = RankingBudgets()
_RANKINGS: Final[Mapping[Ranking, _RankingFragments]] = {
    "failures": _RankingFragments("ranked_runs_newest", "ranked_failures", "ends_with_runs"),
    "flaky": _RankingFragments("ranked_runs_newest", "ranked_flaky", "ends_with_runs"),
    "duration": _RankingFragments("ranked_runs_complete", "ranked_durations", "ends_with_run"),
}


async def list_page(
    connection: Connection,
    org_id: OrgId,
    project_id: str,
    suite: str | None,
    runs: int,
    after: CasePosition | None,
    limit: int,
) -> CasePage:
    """Return the next cases of the project, or of one suite, with statistics over their last `runs` runs."""
    after_suite, after_case = after or _START
    values = {
        "org_id": org_id, "project_id": project_id, "suite": suite, "runs": runs, "page": limit,
        "after_suite": after_suite, "after_case": after_case,
    }  # fmt: skip
    row = await page_statement(of_one_suite=suite is not None).fetch_row(connection, values)
    is_last = row["case_key"] is None
    return CasePage(row["data"], None if is_last else CasePosition(row["suite_hash"], CaseKey(row["case_key"])))


async def find_one(
    connection: Connection, org_id: OrgId, case_key: CaseKey, project_id: str | None, runs: int
) -> str | None:
    """Return one case as JSON, or None if the organization, or the given project, doesn't have it."""
    project_id = await find_project(connection, org_id, case_key, project_id)
    if project_id is None:
        return None
    values = {"org_id": org_id, "case_key": case_key, "project_id": project_id, "runs": runs}
    text: str | None = await one_statement().fetch_value(connection, values)
    return text


async def list_other_variants(
    connection: Connection, org_id: OrgId, case_key: CaseKey, project_id: str, runs: int
) -> str:
    """Return the cases that differ from a case only in their variants, as a JSON array with statistics.

    It has at most `MAX_VARIANTS` cases. For a case without an ID of the producer, it examines a limited number of the
    cases of its suite.
    """
    values = {"org_id": org_id, "case_key": case_key, "project_id": project_id, "runs": runs}
    text: str = await variants_statement().fetch_value(connection, values)
    return text


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
    values = filter_values(org_id, filter_, None) | {"runs": runs, "page": limit}
    return RankedCases(*await ranked_statement(filter_, ranking, budgets).fetch_row(connection, values))


def ranked_statement(filter_: ResultFilter, ranking: Ranking, budgets: RankingBudgets = _BUDGETS) -> Statement:
    """Return the statement for a ranking."""
    chosen = _RANKINGS[ranking]
    filters_cases = filter_.suite is not None or bool(filter_.words or filter_.variants)
    return compose(
        "ranked_cases",
        **chosen._asdict(),
        ranked_driver="driver_project" if filter_.branch is None else "driver_project_and_branch",
        run_budget=MAX_READ_RUNS,
        row_budget=budgets.rows,
        case_budget=budgets.cases,
        ranked_limit="ranked_limit_of_filters" if filters_cases else "ranked_limit_of_page",
        is_search_incomplete="searched_partly" if filters_cases else "searched_completely",
    )


def page_statement(*, of_one_suite: bool) -> Statement:
    """Return the statement for the list."""
    suite = "suite_one" if of_one_suite else "suite_any"
    return compose("page_of_cases", suite=suite, window=_WINDOW_IN_LISTS, page_bytes=composition.MAX_PAGE_BYTES)


def variants_statement() -> Statement:
    """Return the statement for the other variants of a case."""
    return compose("other_variants", window=_WINDOW_IN_LISTS, variant_limit=MAX_VARIANTS, row_budget=MAX_READ_ROWS)


def one_statement() -> Statement:
    """Return the statement for one case."""
    return compose("one_case", window=_WINDOW_ALONE)
