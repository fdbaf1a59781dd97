"""The health of a project: its unhealthy cases, trend, failure groups, and most failing, flakiest, and slowest cases.

A chart starts on the first day with runs, so that a new project has no empty half. Days without runs after it are gaps.
"""

from collections.abc import Mapping
from typing import Final, NamedTuple

from aiohttp import web

from service.cases.contract import CasesQuery
from service.cases.model import RankedCases, Ranking
from service.cases.operations import rank_cases
from service.console.charts import BarChart, ChartColumn, LineChart, duration_chart, rate_chart
from service.console.filters import read_single_filters
from service.console.formats import format_day, format_duration, format_plural, format_rfc3339
from service.console.pages import ConsoleRoute, page
from service.console.rendering import render
from service.contracts.queries import BranchName, Name, PageQuery, Query, RunQuery
from service.domain.statuses import StateValue
from service.domain.texts import format_rate
from service.failures.contract import FailureQuery
from service.failures.model import RankedGroups
from service.failures.operations import list_failures
from service.http.authentication import get_caller
from service.http.process import RESOURCES, Resources
from service.identity.keys.model import Caller
from service.projects.operations import list_projects
from service.runs.operations import list_runs
from service.states.read_states import count_states
from service.stats.contract import StatsQuery
from service.stats.model import LENGTHS_MS, StatsBucketRow, bucket_start
from service.stats.operations import Statistics, find_stats

_RANKED_RUNS: Final = 50
_CASES: Final = 8
_GROUPS: Final = 10
_PROJECTS: Final = 200
_RANKINGS: Final[tuple[Ranking, ...]] = ("failures", "flaky", "duration")
_DAY_MS: Final = LENGTHS_MS["day"]


async def show_health(request: web.Request) -> web.Response:
    """Show the health of a project. A wrong filter is shown in the form."""
    query, form = read_single_filters(request, HealthQuery, ("project_id", "branch"))
    resources, caller = request.app[RESOURCES], get_caller(request)
    project_id = query and (query.project_id or await find_newest_project(resources, caller))
    context = {
        "project_id": project_id,
        "branch": query.branch if query else None,
        "projects": await find_projects(resources, caller),
        "filters": form,
        "ranked_runs": _RANKED_RUNS,
        "health": await _find_health(resources, caller, project_id, query.branch) if query and project_id else None,
    }
    return render(request, "health.html", context, 400 if form.error else 200)


class HealthQuery(Query):
    """The project and the branch. Default: the project of the newest run, and all branches."""

    project_id: Name | None = None
    branch: BranchName | None = None


class KnownProjects(NamedTuple):
    """The IDs of the first projects in alphabetical order. `is_complete` states that the caller can see no others."""

    ids: list[str]
    is_complete: bool

    @property
    def suggestions(self) -> list[tuple[str, str]]:
        """The suggestions of a text field: pairs of value and text."""
        return [(project_id, "") for project_id in self.ids]


async def find_projects(resources: Resources, caller: Caller) -> KnownProjects:
    """Return the projects to select from, or suggestions if there are too many."""
    listed = await list_projects(resources.list_pool, caller, PageQuery(limit=_PROJECTS))
    return KnownProjects([project["project_id"] for project in listed.items], listed.next_cursor is None)


async def find_newest_project(resources: Resources, caller: Caller) -> str | None:
    """Return the project of the newest run, or None without runs."""
    newest = await list_runs(resources.list_pool, caller, RunQuery(limit=1))
    return next((run.project_id for run in newest.items), None)


class RateTrend(NamedTuple):
    """The shares of passed results of consecutive days, and the totals of all days."""

    chart: LineChart
    columns: tuple[ChartColumn, ...]
    runs: int
    failed_runs: int
    passed: int
    executed: int


class DurationTrend(NamedTuple):
    """The median and the 95th percentile of the durations of the runs of consecutive days."""

    chart: BarChart
    columns: tuple[ChartColumn, ...]


class ProjectTrend(NamedTuple):
    """The statistics per day of a project or of one branch. `has_branch` is False if the branch isn't counted apart."""

    rates: RateTrend
    durations: DurationTrend
    start_ms: int
    truncated: bool
    has_branch: bool


class ProjectHealth(NamedTuple):
    """The trend of a project, its failure groups in the same range, and the states and rankings of its cases."""

    states: Mapping[StateValue, int]
    trend: ProjectTrend
    failures: RankedGroups
    rankings: Mapping[Ranking, RankedCases]


async def _find_health(resources: Resources, caller: Caller, project_id: str, branch: str | None) -> ProjectHealth:
    """Return the health of a project, or of one branch."""
    trend = await _find_trend(resources, caller, project_id, branch)
    filters = {"project_id": project_id, "branch": branch}
    of_range = {**filters, "from": format_rfc3339(trend.start_ms), "limit": _GROUPS}
    failures = await list_failures(resources.list_pool, caller, FailureQuery.model_validate(of_range))
    rankings: dict[Ranking, RankedCases] = {}
    for ranking in _RANKINGS:
        query = CasesQuery.model_validate({**filters, "sort": ranking, "runs": _RANKED_RUNS, "limit": _CASES})
        rankings[ranking] = await rank_cases(resources.list_pool, caller, query, ranking)
    states = await count_states(resources.list_pool, caller, project_id)
    return ProjectHealth(states, trend, failures, rankings)


async def _find_trend(resources: Resources, caller: Caller, project_id: str, branch: str | None) -> ProjectTrend:
    """Return the statistics of a project, or of the branch among the statistics per branch."""
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


def rate_trend(stats: Statistics) -> RateTrend:
    """Return the trend of statistics with the interval `day` and without groups."""
    days = _days(stats)
    passed = sum(bucket.counts.passed for bucket in stats.buckets)
    executed = passed + sum(bucket.counts.failed + bucket.counts.error for bucket in stats.buckets)
    return RateTrend(
        chart=rate_chart([day.pass_rate if day else None for day in days.values()]),
        columns=tuple(_rate_column(start_ms, day) for start_ms, day in days.items()),
        runs=sum(bucket.runs for bucket in stats.buckets),
        failed_runs=sum(bucket.failed_runs or 0 for bucket in stats.buckets),
        passed=passed,
        executed=executed,
    )


def _rate_column(start_ms: int, bucket: StatsBucketRow | None) -> ChartColumn:
    label = format_day(start_ms)
    if bucket is None:
        return ChartColumn(label, "no runs")
    runs = f"{format_plural(bucket.runs, 'run')}, {bucket.failed_runs:,} failed"
    if bucket.pass_rate is None:
        return ChartColumn(label, f"no executed results, {runs}")
    executed = bucket.counts.passed + bucket.counts.failed + bucket.counts.error
    share = format_rate(bucket.pass_rate) if executed > 1 else f"{bucket.counts.passed}"
    return ChartColumn(label, f"{share} of {format_plural(executed, 'result')} passed, {runs}")


def duration_trend(stats: Statistics) -> DurationTrend:
    """Return the durations of statistics with the interval `day` and without groups."""
    days = _days(stats)
    medians = [day.duration_p50_ms if day else None for day in days.values()]
    uppers = [day.duration_p95_ms if day else None for day in days.values()]
    columns = tuple(_duration_column(start_ms, day) for start_ms, day in days.items())
    return DurationTrend(duration_chart(medians, uppers), columns)


def _duration_column(start_ms: int, bucket: StatsBucketRow | None) -> ChartColumn:
    label = format_day(start_ms)
    if bucket is None:
        return ChartColumn(label, "no runs")
    if bucket.duration_p50_ms is None:
        return ChartColumn(label, "no known duration")
    median, upper = format_duration(bucket.duration_p50_ms), format_duration(bucket.duration_p95_ms)
    of_runs = f"median {median}, 95th percentile {upper}" if bucket.runs > 1 else median
    return ChartColumn(label, f"{of_runs}, {format_plural(bucket.runs, 'run')}")


def _days(stats: Statistics) -> dict[int, StatsBucketRow | None]:
    """Return the bucket of each day by the start of the day, from the first day with runs on."""
    buckets = {bucket.start_ms: bucket for bucket in stats.buckets}
    first_ms = min(buckets, default=bucket_start(stats.to_ms, "day"))
    return {start_ms: buckets.get(start_ms) for start_ms in range(first_ms, stats.to_ms, _DAY_MS)}


ROUTES: Final = (ConsoleRoute("health", "/console/health", page("results:read", show_health)),)
