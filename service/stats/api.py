"""Handler for statistics about runs."""

from typing import Final

from aiohttp import web

from service.domain.timestamps import format_ms
from service.http.authentication import get_caller
from service.http.parsing import parse_query
from service.http.process import RESOURCES
from service.http.responses import reply_list
from service.http.routes import Operation, Route
from service.stats.contract import RunStats, StatsQuery, write_bucket
from service.stats.operations import find_stats


async def get_stats(request: web.Request) -> web.Response:
    """Get the buckets of a range."""
    query, caller = parse_query(request, StatsQuery), get_caller(request)
    found = await find_stats(request.app[RESOURCES].list_pool, caller, query)
    read_range = {"from": format_ms(found.from_ms), "to": format_ms(found.to_ms)}
    return reply_list(list(map(write_bucket, found.buckets)), None, **read_range, truncated=found.truncated)


ROUTES: Final = (
    Route("GET", "/stats", get_stats, "results:read", Operation(
        "get_stats", "Get statistics about the runs of each hour, day, or week", {200: RunStats}, StatsQuery,
        description="The range has at most 400 intervals. The default is the latest 30. Intervals without runs are"
        " left out. At most the newest 20,000 runs of the range are read.",
    )),
)  # fmt: skip
