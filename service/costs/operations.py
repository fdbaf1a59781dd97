"""Costs for a caller: the groups and cases with the longest durations, the days of a range, and owners per bucket."""

from collections import Counter
from collections.abc import Sequence
from dataclasses import replace
from datetime import UTC, date, datetime, timedelta
from typing import Literal, NamedTuple

from service.cases import store as cases_store
from service.cases.model import RankedCases
from service.cases.store import CasePosition
from service.costs import store
from service.costs.contract import CostsQuery
from service.costs.model import (
    GROUPS_OF_CASES,
    MAX_NEWEST_RUNS,
    CostRange,
    CostsOfGroup,
    CostSums,
    DayCosts,
    choose_days,
)
from service.database.database import Connection, Pool, as_organization
from service.domain.errors import InvalidRequest
from service.domain.filters import ResultFilter
from service.domain.ids import OrgId
from service.domain.timestamps import day_to_ms, from_ms
from service.identity.keys.model import Caller


class FoundCosts(NamedTuple):
    """The groups with the longest durations, the days that they cover, and the sums of each day, if requested."""

    groups: Sequence[CostsOfGroup]
    range: CostRange
    days: Sequence[DayCosts] = ()


async def find_costs(pool: Pool, caller: Caller, query: CostsQuery, *, with_days: bool = False) -> FoundCosts:
    """Return the costs of groups. Raises InvalidRequest for a wrong range, and for filters that the groups lack."""
    project_id = query.project_id or caller.project_id
    if project_id is None and query.group_by != "project":
        raise InvalidRequest(
            "project_id: is required unless group_by is project or the key has a project", "project_id"
        )
    if query.owner is not None and query.group_by not in GROUPS_OF_CASES:
        raise InvalidRequest("owner: requires group_by=case, suite, or owner", "owner")
    first, last = choose_days(*query.days, datetime.now(UTC).date())
    if caller.project_id not in (None, project_id):
        return FoundCosts((), CostRange(first, last, 0, truncated=False))
    async with as_organization(pool, caller.org_id) as connection:
        range_ = await store.find_range(connection, caller.org_id, project_id, first, last)
        if project_id is not None and query.group_by == "case":
            groups = await _find_cases(connection, caller.org_id, project_id, range_, query)
        else:
            found = await store.find_groups(
                connection, caller.org_id, project_id, range_, query.group_by, query.owner, query.limit
            )
            groups = [CostsOfGroup(*each) for each in found]
        days: Sequence[DayCosts] = ()
        if with_days and project_id is not None:
            days = await store.find_days(connection, caller.org_id, project_id, range_)
    return FoundCosts(groups, range_, days)


async def _find_cases(
    connection: Connection, org_id: OrgId, project_id: str, range_: CostRange, query: CostsQuery
) -> list[CostsOfGroup]:
    filter_ = ResultFilter(project_id=project_id, owner=query.owner)
    ranked = await _rank(connection, org_id, range_, filter_, MAX_NEWEST_RUNS, query.limit)
    return [
        CostsOfGroup(case.id, ranked.costs[case.case_key], case.p95_duration_ms, case.runs, case)
        for case in ranked.cases
    ]


async def rank_by_duration(
    connection: Connection, org_id: OrgId, filter_: ResultFilter, runs: int, limit: int
) -> RankedCases:
    """Return the cases of a project with the longest total durations on the days of the filter (default: the last 30).

    Raises InvalidRequest for a branch, because costs are sums over all branches.
    """
    if filter_.branch is not None:
        raise InvalidRequest("branch: is not supported with sort=total_duration, which covers all branches", "branch")
    first = None if filter_.from_ms is None else from_ms(filter_.from_ms).date()
    last = None if filter_.to_ms is None else from_ms(filter_.to_ms - 1).date()
    chosen = choose_days(first, last, datetime.now(UTC).date())
    range_ = await store.find_range(connection, org_id, filter_.project_id, *chosen)
    return await _rank(connection, org_id, range_, filter_, runs, limit)


async def _rank(
    connection: Connection, org_id: OrgId, range_: CostRange, filter_: ResultFilter, runs: int, limit: int
) -> RankedCases:
    filters, choices = cases_store.ranked_filters(org_id, filter_, limit)
    ranked = await store.rank_cases(connection, org_id, range_, filters, limit, choices)
    in_range = replace(filter_, from_ms=day_to_ms(range_.first), to_ms=day_to_ms(range_.last + timedelta(days=1)))
    positions = [CasePosition(suite_hash, key) for key, (suite_hash, _) in ranked.cases.items()]
    rows = await cases_store.list_found(connection, org_id, in_range, runs, positions)
    costs = {key: sums for key, (_, sums) in ranked.cases.items() if key in rows}
    return RankedCases([rows[key] for key in costs], ranked.truncated or range_.truncated, costs, range_)


class OwnerBuckets(NamedTuple):
    """The sums of each bucket and owner, and the runs of the project in each bucket.

    `first` is later than requested if earlier days are merged into months. The owner None has the smallest owners.
    """

    sums: dict[tuple[date, str | None], CostSums]
    runs: Counter[date]
    first: date
    truncated: bool


async def find_by_owner(
    connection: Connection, org_id: OrgId, project_id: str, days: tuple[date, date], interval: Literal["day", "week"],
    max_groups: int,
) -> OwnerBuckets:  # fmt: skip
    """Return the sums of the owners with the most results, and those of all others together."""
    range_ = await store.find_range(connection, org_id, project_id, *days)
    listed = await store.find_days(connection, org_id, project_id, range_)
    merged = [(day.start + timedelta(days=31)).replace(day=1) for day in listed if day.is_month]
    first = max([days[0], *merged])
    range_ = range_._replace(first=first, last=days[1])
    rows = await store.find_owners(connection, org_id, project_id, range_, interval)
    results: Counter[str] = Counter()
    for _, owner, sums in rows:
        results[owner] += sums.results
    named = {owner for owner, _ in results.most_common(max_groups if len(results) <= max_groups else max_groups - 1)}
    buckets: dict[tuple[date, str | None], CostSums] = {}
    for start, owner, sums in rows:
        key = start, owner if owner in named else None
        buckets[key] = CostSums(*map(sum, zip(buckets.get(key, CostSums()), sums, strict=True)))
    runs: Counter[date] = Counter()
    for day in listed:
        if not day.is_month:
            runs[day.start - timedelta(days=day.start.weekday() if interval == "week" else 0)] += day.runs
    return OwnerBuckets(buckets, runs, first, range_.truncated or bool(merged))
