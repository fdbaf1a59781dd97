"""The list of runs: newest first, with their decisions, and the runs of a pull request on a page below each other."""

from typing import Final

from aiohttp import web

from service.api.http.authentication import get_caller
from service.api.resources import RESOURCES
from service.console.filters import FilterForm, read_filters
from service.console.health import find_projects
from service.console.page_links import CURSOR, page_links
from service.console.pages import render
from service.console.run_lists import group_runs
from service.contracts.queries import RunQuery
from service.contracts.stats import StatsQuery
from service.domain.rows import RunRow
from service.usecases.lists.find_stats import Statistics, find_stats
from service.usecases.lists.list_runs import list_runs
from service.usecases.lists.pages import ListPage
from service.usecases.lists.run_decisions import find_run_decisions
from service.usecases.lists.suggest_filters import suggest_filters

_ROWS: Final = "50"
_NO_RUNS: Final = ListPage[RunRow]((), None)
_FILTERS_OF_STATS: Final = frozenset({"project_id", "status", "flaky"})


async def show_runs(request: web.Request) -> web.Response:
    """Show a page of runs, newest first, with the filters of the API. A wrong filter is shown in the form."""
    query, form = read_filters(request, RunQuery, "runs", limit=_ROWS)
    pool, caller = request.app[RESOURCES].list_pool, get_caller(request)
    page = await list_runs(pool, caller, query) if query else _NO_RUNS
    suggested = await suggest_filters(pool, caller, query.to_filter().project_id if query else None)
    context = {
        "groups": group_runs(page.items, await find_run_decisions(pool, caller, page.items)),
        "filters": form,
        "projects": await find_projects(request.app[RESOURCES], caller),
        "authors": [(author, author) for author in suggested.authors],
        "pull_requests": suggested.pull_requests,
        "stats": await _find_stats(request, form),
        **page_links(request.rel_url, page.next_cursor)._asdict(),
    }
    return render(request, "runs.html", context, 400 if form.error else 200)


async def _find_stats(request: web.Request, form: FilterForm) -> Statistics | None:
    """Return the statistics per day of the newest runs, or None if the page shows other runs.

    Statistics have no filter except the project. The status of runs is irrelevant for a pass rate.
    """
    shows_others = any(value for name, value in form.values.items() if name not in _FILTERS_OF_STATS)
    if form.error or shows_others or CURSOR in request.query:
        return None
    query = StatsQuery.model_validate({"project_id": form.values["project_id"] or None})
    return await find_stats(request.app[RESOURCES].list_pool, get_caller(request), query)
