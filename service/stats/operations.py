"""Statistics about runs."""

import time
from collections.abc import Sequence
from dataclasses import replace
from typing import NamedTuple

from service.database.database import Pool, as_organization
from service.domain.filters import restrict_to_project
from service.identity.keys.model import Caller
from service.stats import store
from service.stats.contract import StatsQuery
from service.stats.model import StatsBucketRow, choose_range
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
    if filter_ is None:
        page = StatsPage((), None)
    else:
        async with as_organization(pool, caller.org_id) as connection:
            page = await store.find(connection, caller.org_id, filter_, query.interval, query.group_by)
    is_truncated = page.read_from_ms is not None
    from_ms = chosen.from_ms if page.read_from_ms is None else page.read_from_ms
    return Statistics(page.buckets, from_ms, chosen.to_ms, is_truncated)
