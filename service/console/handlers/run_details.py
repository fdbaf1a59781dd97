"""One run: its decisions and comparison, all of its changes, and all of its results."""

from dataclasses import replace
from typing import Final

from aiohttp import web
from multidict import MultiDict

from service.api.http.authentication import get_caller
from service.api.http.parsing import parse_pairs, parse_query
from service.api.resources import RESOURCES
from service.console.comparisons import describe_missing_parts, explain_results, group_results
from service.console.filters import read_filters
from service.console.page_links import page_links
from service.console.pages import render
from service.console.run_overviews import find_state, received_reports, run_page
from service.contracts.comparison import ComparisonQuery
from service.contracts.queries import Cursor, PageQuery, Query, ResultQuery
from service.domain.rows import ResultRow, RunDetailRow
from service.usecases.lists.find_run import find_run, run_not_found
from service.usecases.lists.list_artifacts import list_run_artifacts
from service.usecases.lists.list_comparison import list_comparison
from service.usecases.lists.list_quarantines import find_excuses
from service.usecases.lists.list_results import list_results
from service.usecases.lists.pages import ListPage
from service.usecases.lists.run_overview import find_overview, find_receipts_of_run, is_sortable

_CHANGES: Final = "50"
_RESULTS: Final = "100"
_ARTIFACTS: Final = 50
_NO_RESULTS: Final = ListPage[ResultRow]((), None)


class RunPageQuery(Query):
    """The position in the list of artifacts."""

    starting_after: Cursor | None = None


async def show_run(request: web.Request) -> web.Response:
    """Show a run: its decisions and its comparison first. A run that isn't stored shows its reports."""
    resources, caller, run_id = request.app[RESOURCES], get_caller(request), request.match_info["run_id"]
    shown = PageQuery(limit=_ARTIFACTS, starting_after=parse_query(request, RunPageQuery).starting_after)
    found = await find_run(resources.pool, caller, run_id)
    if found is None:
        return await _show_reports(request, run_id)
    overview = await find_overview(resources.pool, caller, found.run)
    artifacts = await list_run_artifacts(resources.pool, caller, run_id, shown, resources.settings.link_base)
    context = {"artifacts": artifacts.items, "next_artifacts": artifacts.next_cursor}
    return render(request, "run.html", run_page(found, overview)._asdict() | context)


async def _show_reports(request: web.Request, run_id: str) -> web.Response:
    """Show what happened to the reports of a run that isn't stored. Raises NotFound if there are none."""
    receipts = await find_receipts_of_run(request.app[RESOURCES].pool, get_caller(request), run_id)
    reports = received_reports(receipts)
    if reports is None:
        raise run_not_found(run_id)
    return render(request, "run_missing.html", {"run_id": run_id, "reports": reports}, 404)


async def show_changes(request: web.Request) -> web.Response:
    """Show a page of the comparison of a run. The parameters are those of the API."""
    caller, pool = get_caller(request), request.app[RESOURCES].pool
    given = MultiDict(request.query)
    given.setdefault("limit", _CHANGES)
    query = parse_pairs(given, ComparisonQuery, "query parameter")
    page = await list_comparison(pool, caller, request.match_info["run_id"], query)
    results = explain_results(page, await find_excuses(pool, caller, page.items))
    found = await _find_run(request)
    lacks_results = bool(page.summary.missing.parts) or found.run.failures_missing
    context = {
        "run": found.run,
        "state": find_state(found.run, lacks_results=lacks_results),
        "missing": describe_missing_parts(page.summary, found.parts),
        "groups": group_results(results, page.summary, is_complete=found.run.complete),
        "comparison": page.summary,
        "selected": query.change,
        **page_links(request.rel_url, page.next_cursor)._asdict(),
    }
    return render(request, "run_changes.html", context)


async def show_results(request: web.Request) -> web.Response:
    """Show a page of the results of a run with the filters of the API, sorted by suite if the run isn't too large."""
    caller, run_id, pool = get_caller(request), request.match_info["run_id"], request.app[RESOURCES].pool
    run = (await _find_run(request)).run
    can_sort, state = is_sortable(run), find_state(run, lacks_results=run.failures_missing)
    defaults = {"limit": _RESULTS, "run_id": run_id} | ({"sort": "suite"} if can_sort else {})
    query, form = read_filters(request, ResultQuery, "results", **defaults)
    page = _NO_RESULTS
    if query is not None:
        page = await list_results(pool, caller, replace(query.to_filter(), run_id=run_id, trusted="any"), query)
    context = {"run": run, "state": state, "results": page.items, "filters": form, "can_sort": can_sort}
    links = page_links(request.rel_url, page.next_cursor)._asdict()
    return render(request, "run_results.html", context | links, 400 if form.error else 200)


async def _find_run(request: web.Request) -> RunDetailRow:
    """Return the run of the path with its parts. Raises NotFound."""
    run_id = request.match_info["run_id"]
    found = await find_run(request.app[RESOURCES].pool, get_caller(request), run_id)
    if found is None:
        raise run_not_found(run_id)
    return found
