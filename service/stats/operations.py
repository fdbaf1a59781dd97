"""Statistics about runs."""

import time
from collections.abc import Sequence
from dataclasses import replace
from typing import NamedTuple

from service.costs.operations import find_by_owner
from service.database.database import Pool, as_organization
from service.domain.errors import InvalidRequest
from service.domain.filters import RunFilter, restrict_to_project
from service.domain.statuses import Counts
from service.domain.timestamps import day_to_ms, from_ms
from service.identity.keys.model import Caller
from service.stats import store
from service.stats.contract import StatsQuery
from service.stats.model import MAX_GROUPS, Interval, StatsBucketRow, StatsRange, choose_range, pass_rate
from service.stats.store import StatsPage


class Statistics(NamedTuple):
    """The buckets with runs, and the range that was read. If truncated, it begins later than requested."""

    buckets: Sequence[StatsBucketRow]
    from_ms: int
    to_ms: int
    truncated: bool


async def find_stats(pool: Pool, caller: Caller, query: StatsQuery) -> Statistics:
    """Return the buckets of a range. Raises InvalidRequest if the range has too many."""
    requested = query.to_filter()
    chosen = choose_range(requested.from_ms, requested.to_ms, query.interval, time.time_ns() // 1_000_000)
    filter_ = restrict_to_project(replace(requested, **chosen._asdict()), caller.project_id)
    if query.group_by == "owner":
        return await _find_by_owner(pool, caller, query.interval, filter_, chosen)
    if filter_ is None:
        page = StatsPage((), None)
    else:
        async with as_organization(pool, caller.org_id) as connection:
            page = await store.find(connection, caller.org_id, filter_, query.interval, query.group_by)
    is_truncated = page.read_from_ms is not None
    from_ms = chosen.from_ms if page.read_from_ms is None else page.read_from_ms
    return Statistics(page.buckets, from_ms, chosen.to_ms, is_truncated)


async def _find_by_owner(
    pool: Pool, caller: Caller, interval: Interval, filter_: RunFilter | None, chosen: StatsRange
) -> Statistics:
    """Return the buckets of owners from costs. Raises InvalidRequest for hours, and without a project."""
    if interval == "hour":
        raise InvalidRequest("interval: must be day or week with group_by=owner", "interval")
    if filter_ is None:
        return Statistics((), *chosen, truncated=False)
    if filter_.project_id is None:
        raise InvalidRequest("project_id: is required with group_by=owner", "project_id")
    days = from_ms(chosen.from_ms).date(), from_ms(chosen.to_ms - 1).date()
    async with as_organization(pool, caller.org_id) as connection:
        found = await find_by_owner(connection, caller.org_id, filter_.project_id, days, interval, MAX_GROUPS)
    buckets = [
        StatsBucketRow(day_to_ms(start), owner, found.runs[start], None, counts, pass_rate(counts), None, None)
        for (start, owner), sums in sorted(
            found.sums.items(), key=lambda item: (item[0][0], item[0][1] is None, item[0][1])
        )
        for counts in [Counts(*sums[:6])]
    ]
    return Statistics(buckets, max(chosen.from_ms, day_to_ms(found.first)), chosen.to_ms, found.truncated)
