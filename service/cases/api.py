"""Handlers for cases: the list with statistics, one case, and its history."""

from typing import Final

from aiohttp import web

from service.cases import operations
from service.cases.contract import (
    CaseList,
    CaseQuery,
    CasesQuery,
    CaseSummary,
    OwnersQuery,
    OwnerSummary,
    write_case,
    write_owner,
    write_ranked,
)
from service.contracts.queries import HistoryQuery
from service.http.authentication import get_caller
from service.http.parsing import parse_query
from service.http.process import RESOURCES
from service.http.responses import add_etag, reply, reply_list, reply_page
from service.http.routes import Operation, Route, page_of, with_etag
from service.results.contract import Result, write_result


async def list_cases(request: web.Request) -> web.Response:
    """List the cases of a project, grouped by suite, or the first ones of a ranking."""
    query, caller, pool = parse_query(request, CasesQuery), get_caller(request), request.app[RESOURCES].list_pool
    if query.sort is None:
        return reply_page(await operations.list_cases(pool, caller, query), write_case)
    ranked = await operations.rank_cases(pool, caller, query, query.sort)
    return reply_list(write_ranked(ranked), None, truncated=ranked.truncated)


async def get_case(request: web.Request) -> web.Response:
    """Get one case."""
    query, caller = parse_query(request, CaseQuery), get_caller(request)
    pool = request.app[RESOURCES].pool
    return add_etag(reply(write_case(await operations.find_case(pool, caller, request.match_info["id"], query.runs))))


async def list_case_history(request: web.Request) -> web.Response:
    """List the results of a case, newest run first."""
    query, caller = parse_query(request, HistoryQuery), get_caller(request)
    pool = request.app[RESOURCES].list_pool
    return reply_page(await operations.list_history(pool, caller, request.match_info["id"], query), write_result)


async def list_owners(request: web.Request) -> web.Response:
    """List the owners of the cases of a project, in the order of their names."""
    query, caller, pool = parse_query(request, OwnersQuery), get_caller(request), request.app[RESOURCES].list_pool
    return reply_page(await operations.list_owners(pool, caller, query), write_owner)


ROUTES: Final = (
    Route("GET", "/cases", list_cases, "results:read", Operation(
        "list_cases", "List the cases of a project, grouped by suite or ranked", {200: CaseList}, CasesQuery,
        description="With `sort`, one page: the cases with the most failing or flaky results in the newest `runs` runs,"
        " or the slowest cases of the newest complete run with executed results. The statistics cover these runs. At"
        " most 20,000 results are read. `branch`, `from`, and `to` select these runs. Without `sort`, they select the"
        " newest 200 of the matching runs: cases without a result in them aren't listed, and statistics ignore other"
        " runs. A page that filters can be short or empty although the list continues.",
    )),
    Route("GET", "/owners", list_owners, "results:read", Operation(
        "list_owners", "List the owners of the cases of a project", page_of(OwnerSummary), OwnersQuery,
        description="In the order of their names. Uploads state the owners of cases. The filter `owner` selects them in"
        " other lists.",
    )),
    Route("GET", "/cases/{id}", get_case, "results:read", Operation(
        "get_case", "Get a case with its statistics", with_etag(CaseSummary), CaseQuery,
        errors=("not_found",),
    )),
    Route("GET", "/cases/{id}/history", list_case_history, "results:read", Operation(
        "list_case_history", "List the results of a case, newest run first", page_of(Result),
        HistoryQuery, errors=("not_found",),
    )),
)  # fmt: skip
