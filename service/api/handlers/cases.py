"""Handlers for cases: the list with statistics, one case, and its history."""

from typing import Final

import orjson
from aiohttp import web

from service.api.http.authentication import get_caller
from service.api.http.parsing import parse_query
from service.api.http.responses import compact, reply_list, reply_page, reply_with_etag
from service.api.resources import RESOURCES
from service.contracts.queries import CaseQuery, CasesQuery, HistoryQuery
from service.contracts.results import write_result
from service.domain.cursors import CursorCodec, Cursors, pack_bigint, unpack_bigint
from service.domain.errors import InvalidRequest
from service.domain.ids import CaseKey
from service.domain.rankings import Ranking
from service.store.postgres.database import as_organization
from service.store.queries import cases as read_cases
from service.store.queries.cases import CasePosition
from service.usecases.lists.find_case import find_case, list_history
from service.usecases.lists.pages import ListPage
from service.usecases.lists.rank_cases import rank_cases

_CODEC: Final = CursorCodec[CasePosition](
    lambda position: pack_bigint(position.suite_hash) + pack_bigint(position.case_key),
    lambda data: CasePosition(unpack_bigint(data[:8]), CaseKey(unpack_bigint(data[8:]))),
)


async def list_cases(request: web.Request) -> web.Response:
    """List the cases of a project, grouped by suite."""
    query, caller = parse_query(request, CasesQuery), get_caller(request)
    project_id = query.project_id or caller.project_id
    if project_id is None:
        raise InvalidRequest("project_id: is required unless the key is bound to a project", "project_id")
    if query.sort is not None:
        return await _rank_cases(request, query, project_id, query.sort)
    if caller.project_id not in (None, project_id):
        return reply_page(ListPage((), None))
    cursors = Cursors(_CODEC, "cases", caller.org_id, {"project_id": project_id, "suite": query.suite})
    after = cursors.read(query.starting_after)
    async with as_organization(request.app[RESOURCES].list_pool, caller.org_id) as connection:
        page = await read_cases.list_page(
            connection, caller.org_id, project_id, query.suite, query.runs, after, query.limit
        )
    return reply_page(ListPage(orjson.loads(page.data), cursors.write(page.next)))


async def _rank_cases(request: web.Request, query: CasesQuery, project_id: str, ranking: Ranking) -> web.Response:
    cases = await rank_cases(request.app[RESOURCES].list_pool, get_caller(request), query, project_id, ranking)
    return reply_list(orjson.Fragment(compact(cases.data)), None, truncated=cases.truncated)


async def get_case(request: web.Request) -> web.Response:
    """Get one case."""
    query, caller = parse_query(request, CaseQuery), get_caller(request)
    pool = request.app[RESOURCES].pool
    return reply_with_etag(await find_case(pool, caller, request.match_info["id"], query.runs))


async def list_case_history(request: web.Request) -> web.Response:
    """List the results of a case, newest run first."""
    query, caller = parse_query(request, HistoryQuery), get_caller(request)
    pool = request.app[RESOURCES].list_pool
    return reply_page(await list_history(pool, caller, request.match_info["id"], query), write_result)
