"""The data of the health page: rankings, failure groups, and statistics of a project."""

from collections.abc import Mapping
from typing import Final, NamedTuple

from service.api.resources import Resources
from service.console.formats import format_rfc3339
from service.console.trends import DurationTrend, RateTrend, duration_trend, rate_trend
from service.contracts.failures import FailureQuery
from service.contracts.queries import CasesQuery, PageQuery, RunQuery
from service.contracts.stats import StatsQuery
from service.domain.keys import Caller
from service.domain.rankings import Ranking
from service.domain.rows import RankedCases, RankedGroups
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


class KnownProjects(NamedTuple):
    """The IDs of the first projects in alphabetical order. `is_complete` states that the caller can see no others."""

    ids: list[str]
    is_complete: bool

    @property
    def suggestions(self) -> list[tuple[str, str]]:
        """The suggestions of a text field: pairs of value and text."""
        return [(project_id, "") for project_id in self.ids]


class ProjectTrend(NamedTuple):
    """The statistics per day of a project or of one branch. `has_branch` is False if the branch isn't counted apart."""

    rates: RateTrend
    durations: DurationTrend
    start_ms: int
    truncated: bool
    has_branch: bool


class ProjectHealth(NamedTuple):
    """The trend of a project, its failure groups in the same range, and the rankings of its cases."""

    trend: ProjectTrend
    failures: RankedGroups
    rankings: Mapping[Ranking, RankedCases]


async def find_projects(resources: Resources, caller: Caller) -> KnownProjects:
    """Return the projects to select from, or suggestions if there are too many."""
    page = await list_projects(resources.list_pool, caller, PageQuery(limit=_PROJECTS))
    return KnownProjects([project["project_id"] for project in page.items], page.next_cursor is None)


async def find_newest_project(resources: Resources, caller: Caller) -> str | None:
    """Return the project of the newest run, or None without runs."""
    page = await list_runs(resources.list_pool, caller, RunQuery(limit=1))
    return next((run.project_id for run in page.items), None)


async def find_health(resources: Resources, caller: Caller, project_id: str, branch: str | None) -> ProjectHealth:
    """Return the health of a project, or of one branch."""
    trend = await _find_trend(resources, caller, project_id, branch)
    filters = {"project_id": project_id, "branch": branch}
    of_range = {**filters, "from": format_rfc3339(trend.start_ms), "limit": _GROUPS}
    failures = await list_failures(resources.list_pool, caller, FailureQuery.model_validate(of_range))
    rankings: dict[Ranking, RankedCases] = {}
    for ranking in _RANKINGS:
        query = CasesQuery.model_validate({**filters, "sort": ranking, "runs": RANKED_RUNS, "limit": _CASES})
        rankings[ranking] = await rank_cases(resources.list_pool, caller, query, ranking)
    return ProjectHealth(trend, failures, rankings)


async def _find_trend(resources: Resources, caller: Caller, project_id: str, branch: str | None) -> ProjectTrend:
    """Return the statistics of a project, or those of the branch among the statistics per branch."""
    query = StatsQuery.model_validate({"project_id": project_id, "group_by": "branch" if branch else None})
    stats = await find_stats(resources.list_pool, caller, query)
    selected = [bucket for bucket in stats.buckets if bucket.group == branch]
    has_rest = branch is not None and any(bucket.group is None for bucket in stats.buckets)
    shown = stats._replace(buckets=selected)
    return ProjectTrend(
        rate_trend(shown),
        duration_trend(shown),
        stats.from_ms,
        stats.truncated,
        has_branch=bool(selected) or not has_rest,
    )
