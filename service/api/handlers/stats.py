"""Handler for statistics about runs."""

import time
from dataclasses import replace

import orjson
from aiohttp import web

from service.api.http.authentication import get_caller
from service.api.http.parsing import parse_query
from service.api.http.responses import compact, reply_list
from service.api.server.resources import RESOURCES
from service.contracts.events import rfc3339
from service.contracts.stats import StatsQuery
from service.domain.filters import restrict_to_project
from service.domain.stats import choose_range
from service.domain.timestamps import from_ms
from service.store.postgres.database import as_organization
from service.store.queries import stats as read_stats
from service.store.queries.stats import StatsPage


async def get_stats(request: web.Request) -> web.Response:
    """Get the buckets of a range."""
    query, caller = parse_query(request, StatsQuery), get_caller(request)
    requested = query.to_filter()
    chosen = choose_range(requested.from_ms, requested.to_ms, query.interval, time.time_ns() // 1_000_000)
    filter_ = restrict_to_project(replace(requested, **chosen._asdict()), caller.project_id)
    if filter_ is None:
        page = StatsPage("[]", None)
    else:
        async with as_organization(request.app[RESOURCES].list_pool, caller.org_id) as connection:
            page = await read_stats.find(connection, caller.org_id, filter_, query.interval, query.group_by)
    read_range = {"from": rfc3339(page.read_from or from_ms(chosen.from_ms)), "to": rfc3339(from_ms(chosen.to_ms))}
    return reply_list(orjson.Fragment(compact(page.data)), None, **read_range, truncated=page.read_from is not None)
