"""Handler for costs."""

from typing import Final

from aiohttp import web

from service.costs.contract import Costs, CostsQuery, write_group
from service.costs.operations import find_costs
from service.http.authentication import get_caller
from service.http.parsing import parse_query
from service.http.process import RESOURCES
from service.http.responses import reply_list
from service.http.routes import Operation, Route


async def get_costs(request: web.Request) -> web.Response:
    """Get the groups with the longest durations."""
    query, caller = parse_query(request, CostsQuery), get_caller(request)
    found = await find_costs(request.app[RESOURCES].list_pool, caller, query)
    days = {"from": found.range.first.isoformat(), "to": found.range.last.isoformat()}
    items = list(map(write_group, found.groups))
    return reply_list(items, None, **days, runs=found.range.runs, truncated=found.range.truncated)


ROUTES: Final = (
    Route("GET", "/costs", get_costs, "results:read", Operation(
        "get_costs", "Get the durations and retries of cases, suites, owners, projects, or CI jobs", {200: Costs},
        CostsQuery,
        description="The sums over all executions in trusted runs, longest duration first. Each day in UTC is rolled up"
        " at 01:00 of the next day, and again minutes after a late run, a correction, or a deletion. Months are merged"
        " after 35 days: a range that begins or ends in a merged month contains all of it. A range has at most 400"
        " days. Results that retention has removed keep their costs.",
    )),
)  # fmt: skip
