"""Handler for statistics about runs."""

import orjson
from aiohttp import web

from service.api.http.authentication import get_caller
from service.api.http.parsing import parse_query
from service.api.http.responses import compact, reply_list
from service.api.resources import RESOURCES
from service.contracts.stats import StatsQuery
from service.usecases.lists.find_stats import find_stats


async def get_stats(request: web.Request) -> web.Response:
    """Get the buckets of a range."""
    query, caller = parse_query(request, StatsQuery), get_caller(request)
    data, start, end, truncated = await find_stats(request.app[RESOURCES].list_pool, caller, query)
    return reply_list(orjson.Fragment(compact(data)), None, **{"from": start, "to": end}, truncated=truncated)
