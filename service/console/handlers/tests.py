"""The tests of a project: a search, and rankings such as the flakiest tests of this month."""

from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any, Final, NamedTuple

from aiohttp import web

from service.api.http.authentication import get_caller
from service.api.resources import RESOURCES
from service.console.filters import FilterForm, read_single_filters
from service.console.folded_cases import FoldedTest, fold_cases
from service.console.health import find_newest_project, find_projects
from service.console.page_links import page_links
from service.console.pages import page_url, render
from service.contracts.queries import CasesQuery
from service.domain.rows import CaseRow
from service.usecases.lists.list_cases import list_cases
from service.usecases.lists.pages import ListPage
from service.usecases.lists.rank_cases import rank_cases

_FILTERS: Final = ("q", "project_id", "branch", "suite", "from", "to", "sort")
_VARIANT: Final = "variant"
_ROWS: Final = "100"
_MAX_READS: Final = 5  # of 100 cases each
_RUNS: Final = "50"
_RANKED_ROWS: Final = "50"
_RANKED_RUNS: Final = "200"
_VIEWS: Final = (  # text, ranking, and the range, which starts with the first day of this month if there is one
    ("All tests", "", None),
    ("Most failing", "failures", "this month"),
    ("Flakiest", "flaky", "this month"),
    ("Slowest", "duration", None),
)


class TestsPage(NamedTuple):
    """The tests of a page. `truncated` states that a ranking reached a limit."""

    tests: list[FoldedTest]
    next_cursor: str | None = None
    truncated: bool = False


async def show_tests(request: web.Request) -> web.Response:
    """Show tests of a project, by default that of the newest run. A wrong filter is shown in the form.

    The variants of a test are in one row, so a page of the list contains complete suites. Only a suite with more than
    500 cases is on several pages, and so can be the variants of one of its tests.
    """
    rows, runs = (_RANKED_ROWS, _RANKED_RUNS) if "sort" in request.query else (_ROWS, _RUNS)
    query, form = read_single_filters(request, CasesQuery, _FILTERS, limit=rows, runs=runs)
    form.values[_VARIANT] = request.query.getall(_VARIANT, [])
    resources, caller = request.app[RESOURCES], get_caller(request)
    project_id = (query.project_id or await find_newest_project(resources, caller)) if query else None
    page = await _find(request, query, project_id) if query and project_id else TestsPage([])
    context = {
        "project_id": project_id,
        "projects": await find_projects(resources, caller),
        "filters": form,
        "limit": rows,
        "page": page,
        "views": _views(request.app, form, project_id),
        **page_links(request.rel_url, page.next_cursor)._asdict(),
    }
    return render(request, "tests.html", context, 400 if form.error else 200)


async def _find(request: web.Request, query: CasesQuery, project_id: str) -> TestsPage:
    pool, caller = request.app[RESOURCES].list_pool, get_caller(request)
    of_project = query.model_copy(update={"project_id": project_id})
    if query.sort is not None:
        ranked = await rank_cases(pool, caller, of_project, query.sort)
        return TestsPage(fold_cases(ranked.cases), None, ranked.truncated)
    listed = await _list_suites(request, of_project)
    return TestsPage(fold_cases(listed.items), listed.next_cursor)


async def _list_suites(request: web.Request, query: CasesQuery) -> ListPage[CaseRow]:
    """Return the next cases, which the list groups by suite, up to the end of a suite.

    For example, 100 cases of which the last 10 are a part of a suite become a page of 90 cases.
    """
    pool, caller = request.app[RESOURCES].list_pool, get_caller(request)
    listed: list[CaseRow] = []
    page = ListPage[CaseRow]((), query.starting_after)
    for _ in range(_MAX_READS):
        rest = query.model_copy(update={"starting_after": page.next_cursor})
        page = await list_cases(pool, caller, rest)
        complete = sum(case.suite != page.items[-1].suite for case in page.items)
        if page.next_cursor and complete:
            page = await list_cases(pool, caller, rest.model_copy(update={"limit": complete}))
        listed += page.items
        if page.next_cursor is None or complete:
            break
    return ListPage(listed, page.next_cursor)


def _views(app: web.Application, form: FilterForm, project_id: str | None) -> Mapping[str, dict[str, Any]]:
    """Return the links to the list and to the rankings, by ranking. They keep the filters, but not the dates.

    The current ranking is called that of this month only if it is.
    """
    kept = {**form.values, "project_id": project_id, "to": None}
    month = f"{datetime.now(UTC):%Y-%m}-01"
    other = form.values["sort"] if (form.values["from"], form.values["to"]) != (month, "") else None
    return {
        sort: {
            "text": text,
            "more": None if sort == other else range_,
            "href": page_url(app, "tests", {**kept, "sort": sort, "from": month if range_ else None}),
        }
        for text, sort, range_ in _VIEWS
    }
