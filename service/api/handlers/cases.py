"""Cases over HTTP: those of a project with their statistics, one, its results."""

from dataclasses import replace
from typing import Final

from aiohttp import web

from service.api.handlers.results import reply_results
from service.api.http.authentication import caller
from service.api.http.parsing import parse_query
from service.api.http.responses import reply_page, reply_with_etag
from service.api.server.resources import RESOURCES
from service.contracts.queries import CaseQuery, CasesQuery, HistoryQuery
from service.domain.cursors import CursorCodec, Cursors, pack_bigint, unpack_bigint
from service.domain.errors import InvalidRequest, NotFound
from service.domain.filters import restrict_to_project
from service.domain.ids import CaseKey, parse_case_id
from service.store.postgres.database import as_organization
from service.store.queries import cases as read_cases
from service.store.queries.cases import CasePosition

_PLACES: Final = CursorCodec[CasePosition](
    lambda place: pack_bigint(place.suite_hash) + pack_bigint(place.case_key),
    lambda data: CasePosition(unpack_bigint(data[:8]), CaseKey(unpack_bigint(data[8:]))),
)


async def list_cases(request: web.Request) -> web.Response:
    """The cases of a project, those of a suite together."""
    query, who = parse_query(request, CasesQuery), caller(request)
    project_id = query.project_id or who.project_id
    if project_id is None:
        raise InvalidRequest("project_id: must be given", "project_id")
    if who.project_id not in (None, project_id):
        return reply_page("[]", None)
    cursors = Cursors(_PLACES, "cases", who.org_id, {"project_id": project_id, "suite": query.suite})
    after = cursors.read(query.starting_after)
    async with as_organization(request.app[RESOURCES].list_pool, who.org_id) as connection:
        page = await read_cases.list_page(
            connection, who.org_id, project_id, query.suite, query.runs, after, query.limit
        )
    return reply_page(page.data, cursors.write(page.next))


async def get_case(request: web.Request) -> web.Response:
    """One case."""
    query, who, key = parse_query(request, CaseQuery), caller(request), _case_key(request)
    async with as_organization(request.app[RESOURCES].pool, who.org_id) as connection:
        text = await read_cases.find_one(connection, who.org_id, key, who.project_id, query.runs)
    if text is None:
        raise _no_case(request)
    return reply_with_etag(text)


async def list_history(request: web.Request) -> web.Response:
    """The results of a case, newest run first."""
    query, who, key = parse_query(request, HistoryQuery), caller(request), _case_key(request)
    async with as_organization(request.app[RESOURCES].list_pool, who.org_id) as connection:
        project_id = await read_cases.find_project(connection, who.org_id, key, who.project_id)
    wanted = restrict_to_project(replace(query.to_filter(), case_key=key), project_id)
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
