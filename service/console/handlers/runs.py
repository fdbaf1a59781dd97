"""The list of runs."""

from typing import Final

import orjson
from aiohttp import web

from service.api.http.authentication import get_caller
from service.api.server.resources import RESOURCES
from service.console.filters import read_filters
from service.console.pages import render
from service.contracts.queries import RunQuery
from service.usecases.lists.list_runs import ListPage, list_runs

_ROWS: Final = "50"
_NO_RUNS: Final = ListPage("[]", None)


async def show_runs(request: web.Request) -> web.Response:
    """Show a page of runs, newest first, with the filters of the API. A wrong filter is shown in the form."""
    query, form = read_filters(request, RunQuery, "runs", limit=_ROWS)
    page = await list_runs(request.app[RESOURCES].list_pool, get_caller(request), query) if query else _NO_RUNS
    url = request.rel_url
    context = {
        "runs": orjson.loads(page.data),
        "filters": form,
        "next_url": str(url.update_query(starting_after=page.next_cursor)) if page.next_cursor else None,
        "newest_url": str(url.without_query_params("starting_after")) if "starting_after" in url.query else None,
    }
    return render(request, "runs.html", context, 400 if form.error else 200)
