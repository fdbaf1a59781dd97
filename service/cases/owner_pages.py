"""The owners of a project's cases, and one owner: its broken, flaky, slow, and quarantined cases."""

from collections.abc import Sequence
from typing import Any, Final, NamedTuple

from aiohttp import web

from service.cases.contract import CasesQuery, OwnersQuery
from service.cases.model import CaseRow, OwnerRow, RankedCases
from service.cases.operations import list_cases, list_owners, rank_cases
from service.console.filters import read_single_filters
from service.console.pages import ConsoleRoute, page
from service.console.rendering import page_links, render
from service.contracts.queries import with_parameters
from service.database.pages import ListPage
from service.domain.filters import CASE_OWNER
from service.domain.statuses import StateValue
from service.http.authentication import get_caller
from service.http.process import RESOURCES, Resources
from service.identity.keys.model import Caller
from service.quarantines.contract import Quarantine
from service.quarantines.operations import find_of_owner
from service.stats.pages import find_newest_project, find_projects

_OWNERS: Final = "100"
_CASES: Final = 10  # of each list of an owner


@with_parameters([CASE_OWNER])
class OwnerPageQuery(OwnersQuery):
    """The owners of a project, or one of them. Default: the project of the newest run."""


class OwnerDetail(NamedTuple):
    """An owner with its unhealthy cases, those that changed last first, and its slowest and quarantined cases."""

    counts: OwnerRow
    broken: Sequence[CaseRow]
    flaky: Sequence[CaseRow]
    slowest: RankedCases
    quarantines: Sequence[Quarantine]


async def show_owners(request: web.Request) -> web.Response:
    """Show the owners of a project, or one of them. A wrong filter is shown in the form."""
    query, form = read_single_filters(request, OwnerPageQuery, ("project_id", "owner"), limit=_OWNERS)
    resources, caller = request.app[RESOURCES], get_caller(request)
    project_id = (query.project_id or await find_newest_project(resources, caller)) if query else None
    listed, detail = ListPage[OwnerRow]((), None), None
    if query and project_id:
        of_project = query.model_copy(update={"project_id": project_id})
        if owner := query.to_filter().owner:
            detail = await _find_owner(resources, caller, of_project, owner)
        else:
            listed = await list_owners(resources.list_pool, caller, of_project)
    context = {
        "project_id": project_id,
        "projects": await find_projects(resources, caller),
        "filters": form,
        "owners": listed.items,
        "detail": detail,
        **page_links(request, listed.next_cursor),
    }
    return render(request, "owners.html", context, 400 if form.error else 200)


async def _find_owner(resources: Resources, caller: Caller, query: OwnerPageQuery, owner: str) -> OwnerDetail | None:
    """Return an owner, or None if it has no case in the project."""
    pool, filters = resources.list_pool, {"project_id": query.project_id, "owner": owner}
    first = await list_owners(pool, caller, query.model_copy(update={"limit": 1, "starting_after": None}), owner)
    if not first.items or first.items[0].owner != owner:
        return None
    slowest = CasesQuery.model_validate({**filters, "sort": "duration", "limit": _CASES})
    # Quarantines aren't of the pool for lists, because a replica can lag.
    return OwnerDetail(
        first.items[0],
        await _find_unhealthy(resources, caller, filters, "broken"),
        await _find_unhealthy(resources, caller, filters, "flaky"),
        await rank_cases(pool, caller, slowest, "duration"),
        await find_of_owner(resources.pool, caller, query.project_id or "", owner),
    )


async def _find_unhealthy(
    resources: Resources, caller: Caller, filters: dict[str, Any], state: StateValue
) -> Sequence[CaseRow]:
    query = CasesQuery.model_validate({**filters, "state": [state], "limit": _CASES})
    listed = await list_cases(resources.list_pool, caller, query)
    return sorted(listed.items, key=lambda case: -(case.state.since_ms or 0))


ROUTES: Final = (ConsoleRoute("owners", "/console/owners", page("results:read", show_owners)),)
