"""Handlers for results: the list and one result."""

from typing import Final

from aiohttp import web

from service.contracts.queries import ResultQuery
from service.http.authentication import get_caller
from service.http.parsing import parse_query
from service.http.process import RESOURCES
from service.http.responses import add_etag, reply, reply_page
from service.http.routes import Operation, Route, page_of, with_etag
from service.results import operations
from service.results.contract import Result, ResultDetail, write_result, write_result_detail


async def list_results(request: web.Request) -> web.Response:
    """List results, newest run first."""
    query, caller = parse_query(request, ResultQuery), get_caller(request)
    pool = request.app[RESOURCES].list_pool
    return reply_page(await operations.list_results(pool, caller, query.to_filter(), query), write_result)


async def get_result(request: web.Request) -> web.Response:
    """Get one result with its failure and attempts."""
    resources = request.app[RESOURCES]
    found = await operations.find_result(resources.pool, get_caller(request), request.match_info["id"])
    return add_etag(reply(write_result_detail(found, resources.settings.link_base)))


ROUTES: Final = (
    Route("GET", "/results", list_results, "results:read", Operation(
        "list_results", "List results, newest run first", page_of(Result), ResultQuery,
    )),
    Route("GET", "/results/{id}", get_result, "results:read", Operation(
        "get_result", "Get a result with its attempts and its run", with_etag(ResultDetail),
        errors=("not_found",),
    )),
)  # fmt: skip
