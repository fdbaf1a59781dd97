"""Handlers for results: the list and one result."""

from aiohttp import web

from service.api.http.authentication import get_caller
from service.api.http.parsing import parse_query
from service.api.http.responses import add_etag, reply, reply_page
from service.api.resources import RESOURCES
from service.contracts.queries import ResultQuery
from service.contracts.results import write_result, write_result_detail
from service.usecases.lists import list_results as usecase


async def list_results(request: web.Request) -> web.Response:
    """List results, newest run first."""
    query, caller = parse_query(request, ResultQuery), get_caller(request)
    pool = request.app[RESOURCES].list_pool
    return reply_page(await usecase.list_results(pool, caller, query.to_filter(), query), write_result)


async def get_result(request: web.Request) -> web.Response:
    """Get one result with its failure and attempts."""
    resources = request.app[RESOURCES]
    found = await usecase.find_result(resources.pool, get_caller(request), request.match_info["id"])
    return add_etag(reply(write_result_detail(found, resources.settings.link_base)))
