"""The health of a project: its trend, its failure groups, and its most failing, flakiest, and slowest cases."""

from aiohttp import web

from service.api.http.authentication import get_caller
from service.api.resources import RESOURCES
from service.console.filters import read_single_filters
from service.console.health import RANKED_RUNS, find_health, find_newest_project, find_projects
from service.console.pages import render
from service.contracts.queries import BranchName, Name, Query


class HealthQuery(Query):
    """The project and the branch. Default: the project of the newest run, and all branches."""

    project_id: Name | None = None
    branch: BranchName | None = None


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
        "ranked_runs": RANKED_RUNS,
        "health": await find_health(resources, caller, project_id, query.branch) if query and project_id else None,
    }
    return render(request, "health.html", context, 400 if form.error else 200)
