"""Handlers for cases: the list with statistics, one case, and its history."""

from aiohttp import web

from service.cases import operations
from service.cases.contract import CaseQuery, CasesQuery, write_case
from service.cases.operations import find_case, list_history, rank_cases
from service.contracts.queries import HistoryQuery
from service.http.authentication import get_caller
from service.http.parsing import parse_query
from service.http.process import RESOURCES
from service.http.responses import add_etag, reply, reply_list, reply_page
from service.results.contract import write_result


async def list_cases(request: web.Request) -> web.Response:
    """List the cases of a project, grouped by suite, or the first ones of a ranking."""
    query, caller, pool = parse_query(request, CasesQuery), get_caller(request), request.app[RESOURCES].list_pool
    if query.sort is None:
        return reply_page(await operations.list_cases(pool, caller, query), write_case)
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
