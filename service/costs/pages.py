"""The costs of a project: the duration of its executions per day, and the cases, suites, owners, or jobs with the most.

A bar of a merged month is the mean of its days, so that it compares with the bars of days. Days without runs are gaps.
"""

from collections.abc import Iterator, Mapping, Sequence
from datetime import date, timedelta
from typing import Final, NamedTuple

from aiohttp import web

from service.console.charts import BarChart, ChartColumn, duration_chart
from service.console.filters import FilterForm, read_single_filters
from service.console.formats import format_duration, format_plural
from service.console.pages import ConsoleRoute, page
from service.console.rendering import page_url, render
from service.costs.contract import CostsQuery
from service.costs.model import GROUPS_OF_CASES, CostSums, DayCosts
from service.costs.operations import FoundCosts, find_costs
from service.domain.errors import InvalidRequest
from service.http.authentication import get_caller
from service.http.process import RESOURCES
from service.stats.pages import find_newest_project, find_projects

_FILTERS: Final = ("project_id", "group_by", "owner", "from", "to")
_ROWS: Final = "50"
_GROUPS: Final = {"case": "Cases", "suite": "Suites", "owner": "Owners", "job": "CI jobs", "project": "Projects"}


async def show_costs(request: web.Request) -> web.Response:
    """Show the costs of a project, or of all projects if they are compared. A wrong filter is shown in the form."""
    query, form = read_single_filters(request, CostsQuery, _FILTERS, limit=_ROWS)
    resources, caller = request.app[RESOURCES], get_caller(request)
    project_id = (query.project_id or await find_newest_project(resources, caller)) if query else None
    found: FoundCosts | None = None
    if query and project_id:
        of_project = query.model_copy(update={"project_id": None if query.group_by == "project" else project_id})
        try:
            found = await find_costs(resources.list_pool, caller, of_project, with_days=True)
        except InvalidRequest as error:
            form = form._replace(error=error)
    context = {
        "project_id": project_id,
        "projects": await find_projects(resources, caller),
        "filters": form,
        "group_by": query.group_by if query else "case",
        "limit": int(_ROWS),
        "tabs_of_groups": _tabs(request.app, form, project_id),
        "found": found,
        "trend": describe_days(found.days, found.range.last) if found and found.days else None,
    }
    return render(request, "costs.html", context, 400 if form.error else 200)


def _tabs(app: web.Application, form: FilterForm, project_id: str | None) -> Mapping[str, dict[str, str]]:
    """Return the links to the groups. They keep the filters that the groups support."""
    kept = {**form.values, "project_id": project_id}
    tabs: dict[str, dict[str, str]] = {}
    for group, text in _GROUPS.items():
        owner = form.values["owner"] if group in GROUPS_OF_CASES else None
        tabs[group] = {"text": text, "href": page_url(app, "costs", {**kept, "group_by": group, "owner": owner})}
    return tabs


class CostTrend(NamedTuple):
    """The durations of consecutive days and merged months, the sums of all of them, and whether one is a month."""

    chart: BarChart
    columns: tuple[ChartColumn, ...]
    sums: CostSums
    has_months: bool


def describe_days(days: Sequence[DayCosts], last: date) -> CostTrend:
    """Return the trend from the first of the days to the last day of the range."""
    columns = tuple(_columns(days, last))
    per_day = [
        (each.sums.retry_ms / count, each.sums.duration_ms / count) if each else None for _, count, each in columns
    ]
    return CostTrend(
        duration_chart([each and each[0] for each in per_day], [each and each[1] for each in per_day]),
        tuple(_column(*column) for column in columns),
        CostSums(*map(sum, zip(*(each.sums for each in days), strict=True))),
        any(each.is_month for each in days),
    )


def _columns(days: Sequence[DayCosts], last: date) -> Iterator[tuple[date, int, DayCosts | None]]:
    """Yield the first day, the number of days, and the costs of each column."""
    by_start, start = {each.start: each for each in days}, days[0].start
    while start <= last:
        each = by_start.get(start)
        following = (start + timedelta(days=31)).replace(day=1) if each and each.is_month else start + timedelta(days=1)
        yield start, (following - start).days, each
        start = following


def _column(start: date, days: int, costs: DayCosts | None) -> ChartColumn:
    if costs is None:
        return ChartColumn(f"{start:%b} {start.day}", "no runs")
    sums, runs = costs.sums, format_plural(costs.runs, "run")
    text = f"{format_duration(sums.duration_ms)}, of which {format_duration(sums.retry_ms)} retry time, {runs}"
    if costs.is_month:
        return ChartColumn(f"{start:%b %Y}", f"{format_duration(sums.duration_ms / days)} per day: {text}")
    return ChartColumn(f"{start:%b} {start.day}", text)


ROUTES: Final = (ConsoleRoute("costs", "/console/costs", page("results:read", show_costs)),)
