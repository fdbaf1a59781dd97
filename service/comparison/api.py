"""Handler for the comparison of a run."""

from aiohttp import web

from service.comparison.contract import ComparisonQuery, write_comparison, write_comparison_item
from service.comparison.operations import list_comparison
from service.http.authentication import get_caller
from service.http.parsing import parse_query
from service.http.process import RESOURCES
from service.http.responses import reply_list


async def compare_run(request: web.Request) -> web.Response:
    """Compare a run with its baseline, and return a page of the changes."""
    query, caller = parse_query(request, ComparisonQuery), get_caller(request)
    page = await list_comparison(request.app[RESOURCES].pool, caller, request.match_info["run_id"], query)
    items = list(map(write_comparison_item, page.items))
    return reply_list(items, page.next_cursor, **write_comparison(page.summary))
