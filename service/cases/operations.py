"""Cases for a caller: the list, rankings, one case, its variants, and its history."""

from collections.abc import Sequence
from dataclasses import replace
from typing import Final

from service.cases import store
from service.cases.contract import CasesQuery, OwnersQuery
from service.cases.model import CaseRow, OwnerRow, RankedCases, Ranking
from service.cases.store import CasePosition
from service.contracts.queries import HistoryQuery
from service.costs.operations import rank_by_duration
from service.database.database import Connection, Pool, as_organization
from service.database.pages import ListPage, RowPage, read_page
from service.database.statements import MAX_READ_RUNS, PROBE_BUDGET
from service.domain.cursors import TEXT, CursorCodec, Cursors, pack_bigint, unpack_bigint
from service.domain.errors import InvalidRequest, NotFound
from service.domain.filters import ResultFilter, restrict_to_project
from service.domain.ids import CaseKey, OrgId, parse_case_id
from service.identity.keys.model import Caller
from service.results import queries as results_queries
from service.results.operations import result_cursors
from service.results.rows import ResultRow
from service.states.model import ShownState
from service.states.read_states import find_shown

MAX_VARIANTS: Final = 20
_MAX_PAGES: Final = MAX_READ_RUNS // PROBE_BUDGET  # examines as many runs as the statistics of the case
_CODEC: Final = CursorCodec[CasePosition](
    lambda position: pack_bigint(position.suite_hash) + pack_bigint(position.case_key),
    lambda data: CasePosition(unpack_bigint(data[:8]), CaseKey(unpack_bigint(data[8:]))),
)


async def list_cases(pool: Pool, caller: Caller, query: CasesQuery) -> ListPage[CaseRow]:
    """Return cases of a project, grouped by suite. Raises InvalidRequest for a cursor of another list.

    The list is empty if the caller's key is bound to another project. A page can be short although the list continues.
    """
    filter_ = _filter_of(caller, query)
    if filter_ is None:
        return ListPage((), None)

    async def read(connection: Connection, after: CasePosition | None) -> RowPage[CaseRow, CasePosition]:
        page = await store.list_page(connection, caller.org_id, filter_, query.runs, after, query.limit)
        return page._replace(rows=await _with_states(connection, caller.org_id, page.rows))

    cursors = Cursors(_CODEC, "cases", caller.org_id, filter_.set_fields())
    return await read_page(pool, caller, cursors, query.starting_after, read)


async def rank_cases(pool: Pool, caller: Caller, query: CasesQuery, ranking: Ranking) -> RankedCases:
    """Return the first cases of a ranking, or none if the caller's key is bound to another project.

    Raises InvalidRequest without a project, and for a cursor, because a ranking has one page.
    """
    filter_ = _filter_of(caller, query)
    if query.starting_after is not None:
        raise InvalidRequest("starting_after: is not supported with sort, which returns one page", "starting_after")
    if filter_ is None:
        return RankedCases((), truncated=False)
    async with as_organization(pool, caller.org_id) as connection:
        if ranking == "total_duration":
            ranked = await rank_by_duration(connection, caller.org_id, filter_, query.runs, query.limit)
            return ranked._replace(cases=await _with_states(connection, caller.org_id, ranked.cases))
        ranked = await store.list_ranked(connection, caller.org_id, filter_, ranking, query.runs, query.limit)
        return ranked._replace(cases=await _with_states(connection, caller.org_id, ranked.cases))


async def list_owners(pool: Pool, caller: Caller, query: OwnersQuery, first: str = "") -> ListPage[OwnerRow]:
    """Return the owners of the cases of a project in the order of their names, at least `first`.

    The list is empty if the caller's key is bound to another project. Raises InvalidRequest without a project, and for
    a cursor of another list.
    """
    filter_ = _filter_of(caller, query)
    if filter_ is None or filter_.project_id is None:
        return ListPage((), None)
    project_id = filter_.project_id

    async def read(connection: Connection, after: str | None) -> RowPage[OwnerRow, str]:
        return await store.list_owners(connection, caller.org_id, project_id, after or first, query.limit)

    cursors = Cursors(TEXT, "owners", caller.org_id, {"project_id": project_id})
    return await read_page(pool, caller, cursors, query.starting_after, read)


def _filter_of(caller: Caller, query: CasesQuery | OwnersQuery) -> ResultFilter | None:
    """Return the filter for the project of the query, or else for the project of the caller's key.

    None means that the key is bound to another project. Raises InvalidRequest if neither has a project.
    """
    project_id = query.project_id or caller.project_id
    if project_id is None:
        raise InvalidRequest("project_id: is required unless the key is bound to a project", "project_id")
    return restrict_to_project(replace(query.to_filter(), project_id=project_id), caller.project_id)


async def find_case(pool: Pool, caller: Caller, case_id: str, runs: int) -> CaseRow:
    """Return a case with statistics over its latest `runs` runs. Raises NotFound."""
    key = _parse(case_id)
    async with as_organization(pool, caller.org_id) as connection:
        found = await store.find_one(connection, caller.org_id, key, caller.project_id, runs)
        if found is None:
            raise _case_not_found(case_id)
        return (await _with_states(connection, caller.org_id, [found]))[0]


async def find_other_variants(pool: Pool, caller: Caller, case: CaseRow, runs: int) -> list[CaseRow]:
    """Return at most `MAX_VARIANTS` cases that differ from a case only in their variants."""
    async with as_organization(pool, caller.org_id) as connection:
        variants = await store.list_other_variants(
            connection, caller.org_id, case.case_key, case.project_id, runs, MAX_VARIANTS
        )
        return await _with_states(connection, caller.org_id, variants)


async def _with_states(connection: Connection, org_id: OrgId, cases: Sequence[CaseRow]) -> list[CaseRow]:
    states = await find_shown(connection, org_id, [case.case_key for case in cases])
    return [case._replace(state=states.get(case.case_key, ShownState())) for case in cases]


async def list_history(pool: Pool, caller: Caller, case_id: str, query: HistoryQuery) -> ListPage[ResultRow]:
    """Return a page of the results of a case, newest run first. Raises NotFound, and InvalidRequest for the cursor."""
    key = _parse(case_id)
    async with as_organization(pool, caller.org_id) as connection:
        project_id = await store.find_project(connection, caller.org_id, key, caller.project_id)
        filter_ = restrict_to_project(replace(query.to_filter(), case_key=key), project_id)
        if project_id is None or filter_ is None:
            raise _case_not_found(case_id)
        cursors = result_cursors(caller.org_id, filter_)
        after = cursors.read(query.starting_after)
        page = await results_queries.list_resolved_page(connection, caller.org_id, filter_, after, query.limit)
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
