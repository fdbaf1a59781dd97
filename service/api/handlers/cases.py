"""Handlers for cases: the list with statistics, one case, and its history."""

from aiohttp import web

from service.api.http.authentication import get_caller
from service.api.http.parsing import parse_query
from service.api.http.responses import add_etag, reply, reply_list, reply_page
from service.api.resources import RESOURCES
from service.contracts.cases import write_case
from service.contracts.queries import CaseQuery, CasesQuery, HistoryQuery
from service.contracts.results import write_result
from service.usecases.lists import list_cases as read_list
from service.usecases.lists.find_case import find_case, list_history
from service.usecases.lists.rank_cases import rank_cases


async def list_cases(request: web.Request) -> web.Response:
    """List the cases of a project, grouped by suite, or the first ones of a ranking."""
    query, caller, pool = parse_query(request, CasesQuery), get_caller(request), request.app[RESOURCES].list_pool
    if query.sort is None:
        return reply_page(await read_list.list_cases(pool, caller, query), write_case)
    ranked = await rank_cases(pool, caller, query, query.sort)
    return reply_list(list(map(write_case, ranked.cases)), None, truncated=ranked.truncated)


async def get_case(request: web.Request) -> web.Response:
    """Get one case."""
    query, caller = parse_query(request, CaseQuery), get_caller(request)
    pool = request.app[RESOURCES].pool
    return add_etag(reply(write_case(await find_case(pool, caller, request.match_info["id"], query.runs))))


async def list_case_history(request: web.Request) -> web.Response:
    """List the results of a case, newest run first."""
    query, caller = parse_query(request, HistoryQuery), get_caller(request)
    pool = request.app[RESOURCES].list_pool
    return reply_page(await list_history(pool, caller, request.match_info["id"], query), write_result)
