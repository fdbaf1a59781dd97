"""One case for a caller: the case with its statistics, its results, and its other variants."""

from dataclasses import replace
from typing import Final

from service.contracts.queries import HistoryQuery
from service.domain.errors import NotFound
from service.domain.filters import restrict_to_project
from service.domain.ids import CaseKey, parse_case_id
from service.domain.keys import Caller
from service.domain.rows import CaseRow, ResultRow
from service.store.postgres.composition import MAX_READ_RUNS, PROBE_BUDGET
from service.store.postgres.database import Pool, as_organization
from service.store.queries import cases, results
from service.usecases.lists.list_results import result_cursors
from service.usecases.lists.pages import ListPage

MAX_VARIANTS: Final = 20
_MAX_PAGES: Final = MAX_READ_RUNS // PROBE_BUDGET  # examines as many runs as the statistics of the case


async def find_case(pool: Pool, caller: Caller, case_id: str, runs: int) -> CaseRow:
    """Return a case with statistics over its latest `runs` runs. Raises NotFound."""
    key = _parse(case_id)
    async with as_organization(pool, caller.org_id) as connection:
        found = await cases.find_one(connection, caller.org_id, key, caller.project_id, runs)
    if found is None:
        raise _case_not_found(case_id)
    return found


async def find_other_variants(pool: Pool, caller: Caller, case: CaseRow, runs: int) -> list[CaseRow]:
    """Return at most `MAX_VARIANTS` cases that differ from a case only in their variants."""
    async with as_organization(pool, caller.org_id) as connection:
        return await cases.list_other_variants(
            connection, caller.org_id, case.case_key, case.project_id, runs, MAX_VARIANTS
        )


async def list_history(pool: Pool, caller: Caller, case_id: str, query: HistoryQuery) -> ListPage[ResultRow]:
    """Return a page of the results of a case, newest run first. Raises NotFound, and InvalidRequest for the cursor."""
    key = _parse(case_id)
    async with as_organization(pool, caller.org_id) as connection:
        project_id = await cases.find_project(connection, caller.org_id, key, caller.project_id)
        filter_ = restrict_to_project(replace(query.to_filter(), case_key=key), project_id)
        if project_id is None or filter_ is None:
            raise _case_not_found(case_id)
        cursors = result_cursors(caller.org_id, filter_)
        after = cursors.read(query.starting_after)
        page = await results.list_resolved_page(connection, caller.org_id, filter_, after, query.limit)
    return ListPage(page.rows, cursors.write(page.next))


async def find_newest_results(pool: Pool, caller: Caller, case_id: str, count: int) -> list[ResultRow]:
    """Return the newest results of a case, newest first. Raises NotFound.

    It reads a few pages of the history, because a page of a case that few runs contain is short.
    """
    newest: list[ResultRow] = []
    cursor = None
    for _ in range(_MAX_PAGES):
        query = HistoryQuery(limit=count - len(newest), starting_after=cursor)
        items, cursor = await list_history(pool, caller, case_id, query)
        newest += items
        if cursor is None or len(newest) >= count:
            break
    return newest


def _parse(case_id: str) -> CaseKey:
    key = parse_case_id(case_id)
    if key is None:
        raise _case_not_found(case_id)
    return key


def _case_not_found(case_id: str) -> NotFound:
    """Return the same error for an ID that is malformed, unknown, or of another organization."""
    return NotFound(f"case {case_id[:100]!r} not found")
