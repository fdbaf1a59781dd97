"""Statistics about runs."""

import time
from dataclasses import replace
from typing import NamedTuple

from service.contracts.stats import StatsQuery
from service.domain.filters import restrict_to_project
from service.domain.keys import Caller
from service.domain.stats import choose_range
from service.domain.timestamps import format_time, from_ms
from service.store.postgres.database import Pool, as_organization
from service.store.queries import stats
from service.store.queries.stats import StatsPage


class Statistics(NamedTuple):
    """The buckets as a JSON array, and the range that was read. If truncated, it begins later than requested."""

    data: str
    start: str
    end: str
    truncated: bool


async def find_stats(pool: Pool, caller: Caller, query: StatsQuery) -> Statistics:
    """Return the buckets of a range. Raises InvalidRequest if the range has too many."""
    requested = query.to_filter()
    chosen = choose_range(requested.from_ms, requested.to_ms, query.interval, time.time_ns() // 1_000_000)
    filter_ = restrict_to_project(replace(requested, **chosen._asdict()), caller.project_id)
    if filter_ is None:
        page = StatsPage("[]", None)
    else:
        async with as_organization(pool, caller.org_id) as connection:
            page = await stats.find(connection, caller.org_id, filter_, query.interval, query.group_by)
    start = format_time(page.read_from or from_ms(chosen.from_ms))
    return Statistics(page.data, start, format_time(from_ms(chosen.to_ms)), page.read_from is not None)
