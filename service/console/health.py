"""The data of the health page: rankings, failure groups, and statistics of a project, as the API returns them."""

from collections.abc import Mapping
from typing import Any, Final, NamedTuple

import orjson

from service.console.trends import DurationTrend, RateTrend, duration_trend, rate_trend
from service.contracts.failures import FailureQuery
from service.contracts.queries import CasesQuery, PageQuery, RunQuery
from service.contracts.stats import StatsQuery
from service.domain.keys import Caller
from service.domain.rankings import Ranking
from service.store.postgres.database import Pool
from service.usecases.lists.find_stats import find_stats
from service.usecases.lists.list_failures import list_failures
from service.usecases.lists.list_projects import list_projects
from service.usecases.lists.list_runs import list_runs
from service.usecases.lists.rank_cases import rank_cases

RANKED_RUNS: Final = 50
_CASES: Final = 8
_GROUPS: Final = 10
_PROJECTS: Final = 200
_RANKINGS: Final[tuple[Ranking, ...]] = ("failures", "flaky", "duration")


class RankedList(NamedTuple):
    """The first objects of a ranking. If truncated, older or further objects weren't read."""

    items: list[dict[str, Any]]
    truncated: bool


class ProjectTrend(NamedTuple):
    """The statistics per day of a project or of one branch. `has_branch` is False if the branch isn't counted apart."""

    rates: RateTrend
    durations: DurationTrend
    start: str
    truncated: bool
    has_branch: bool


class ProjectHealth(NamedTuple):
    """The trend of a project, its failure groups in the same range, and the rankings of its cases."""

    trend: ProjectTrend
    failures: RankedList
    rankings: Mapping[Ranking, RankedList]


async def find_project_ids(pool: Pool, caller: Caller) -> list[str] | None:
    """Return the projects to select from, or None if there are too many."""
    page = await list_projects(pool, caller, PageQuery(limit=_PROJECTS))
    return None if page.next_cursor else [project["project_id"] for project in orjson.loads(page.data)]


async def find_newest_project(pool: Pool, caller: Caller) -> str | None:
    """Return the project of the newest run, or None without runs."""
    page = await list_runs(pool, caller, RunQuery(limit=1))
    return next((run["project_id"] for run in orjson.loads(page.data)), None)


async def find_health(pool: Pool, caller: Caller, project_id: str, branch: str | None) -> ProjectHealth:
    """Return the health of a project, or of one branch."""
    trend = await _find_trend(pool, caller, project_id, branch)
    filters = {"project_id": project_id, "branch": branch}
    failures = await list_failures(
        pool, caller, FailureQuery.model_validate({**filters, "from": trend.start, "limit": _GROUPS})
    )
    rankings: dict[Ranking, RankedList] = {}
    for ranking in _RANKINGS:
        query = CasesQuery.model_validate({**filters, "sort": ranking, "runs": RANKED_RUNS, "limit": _CASES})
        cases = await rank_cases(pool, caller, query, project_id, ranking)
        rankings[ranking] = RankedList(orjson.loads(cases.data), cases.truncated)
    return ProjectHealth(trend, RankedList(orjson.loads(failures.data), failures.truncated), rankings)


async def _find_trend(pool: Pool, caller: Caller, project_id: str, branch: str | None) -> ProjectTrend:
    """Return the statistics of a project, or those of the branch among the statistics per branch."""
    query = StatsQuery.model_validate({"project_id": project_id, "group_by": "branch" if branch else None})
    data, start, end, truncated = await find_stats(pool, caller, query)
    buckets = orjson.loads(data)
    selected = [bucket for bucket in buckets if bucket["group"] == branch]
    stats = {"data": selected, "from": start, "to": end}
    has_rest = branch is not None and any(bucket["group"] is None for bucket in buckets)
    return ProjectTrend(
        rate_trend(stats), duration_trend(stats), start, truncated, has_branch=bool(selected) or not has_rest
    )
