"""Cases over HTTP: those of a project with their statistics, one, its results."""

from aiohttp import web

from service.api.callers import caller
from service.api.parsing import parse_query
from service.api.replies import reply_one, reply_page
from service.api.resources import RESOURCES
from service.api.results import reply_results
from service.contracts.queries import CaseQuery, CasesQuery, HistoryQuery
from service.domain.cursors import read_cursor, write_cursor
from service.domain.errors import InvalidRequest, NotFound
from service.domain.filters import within_project
from service.domain.ids import CaseKey, parse_case_id
from service.store import read_cases
from service.store.database import as_organization
from service.store.read_cases import CasePlace


async def list_cases(request: web.Request) -> web.Response:
    """The cases of a project, those of a suite together."""
    query, who = parse_query(request, CasesQuery), caller(request)
    project_id = query.project_id or who.project_id
    if project_id is None:
        raise InvalidRequest("project_id: needed", "project_id")
    if who.project_id not in (None, project_id):
        return reply_page("[]", None)
    of_list = ("cases", who.org_id, project_id, query.suite)
    after = _read_place(query.starting_after, of_list)
    async with as_organization(request.app[RESOURCES].list_pool, who.org_id) as connection:
        page = await read_cases.list_page(
            connection, who.org_id, project_id, query.suite, query.runs, after, query.limit
        )
    return reply_page(page.data, page.next and write_cursor(_place_bytes(page.next), *of_list))


async def get_case(request: web.Request) -> web.Response:
    """One case."""
    query, who, key = parse_query(request, CaseQuery), caller(request), _case_key(request)
    async with as_organization(request.app[RESOURCES].pool, who.org_id) as connection:
        text = await read_cases.find_one(connection, who.org_id, key, who.project_id, query.runs)
    if text is None:
        raise _no_case(request)
    return reply_one(text)


async def list_history(request: web.Request) -> web.Response:
    """The results of a case, newest run first."""
    query, who, key = parse_query(request, HistoryQuery), caller(request), _case_key(request)
    async with as_organization(request.app[RESOURCES].list_pool, who.org_id) as connection:
        project_id = await read_cases.find_project(connection, who.org_id, key, who.project_id)
    wanted = within_project(query.to_filter(key), project_id)
    if project_id is None or wanted is None:
        raise _no_case(request)
    return await reply_results(request, wanted, query)


def _case_key(request: web.Request) -> CaseKey:
    key = parse_case_id(request.match_info["id"])
    if key is None:
        raise _no_case(request)
    return key


def _no_case(request: web.Request) -> NotFound:
    """The same for an id that is malformed, absent or another organization's."""
    return NotFound(f"there is no case {request.match_info['id'][:100]!r}")


def _place_bytes(place: CasePlace) -> bytes:
    return place.suite_hash.to_bytes(8, signed=True) + place.case_key.to_bytes(8, signed=True)


def _read_place(cursor: str | None, of_list: tuple[object, ...]) -> CasePlace | None:
    if cursor is None:
        return None
    place = read_cursor(cursor, *of_list)
    if place is None or len(place) != 16:
        raise InvalidRequest("starting_after: not a cursor of this list", "starting_after")
    return CasePlace(int.from_bytes(place[:8], signed=True), CaseKey(int.from_bytes(place[8:], signed=True)))
