"""Handler for the comparison of a run."""

from typing import Final

from aiohttp import web

from service.comparison.contract import ComparisonQuery, RunComparison, write_comparison, write_comparison_item
from service.comparison.operations import list_comparison
from service.http.authentication import get_caller
from service.http.parsing import parse_query
from service.http.process import RESOURCES
from service.http.responses import reply_list
from service.http.routes import Operation, Route


async def compare_run(request: web.Request) -> web.Response:
    """Compare a run with its baseline, and return a page of the changes."""
    query, caller = parse_query(request, ComparisonQuery), get_caller(request)
    page = await list_comparison(request.app[RESOURCES].pool, caller, request.match_info["run_id"], query)
    items = list(map(write_comparison_item, page.items))
    return reply_list(items, page.next_cursor, **write_comparison(page.summary))


ROUTES: Final = (
    Route("GET", "/runs/{run_id}/comparison", compare_run, "results:read", Operation(
        "compare_run", "Compare a run with earlier runs: new, known, and fixed failures", {200: RunComparison},
        ComparisonQuery, errors=("not_found", "gone"),
        description="The window contains the newest 100 earlier runs of the base branch that are complete, aren't"
        " canceled, have executed results, and have the same environment. The baseline is one of the newest"
        " runs of the window. A cursor is invalid after a change of the run, a run of the window, or a quarantine.",
    )),
)  # fmt: skip
