"""One result: its failure, its attempts, its output, and its artifacts."""

from aiohttp import web

from service.api.http.authentication import get_caller
from service.api.http.parsing import parse_query
from service.api.resources import RESOURCES
from service.console.pages import page_url, render
from service.console.result_details import find_result
from service.contracts.queries import Cursor, Query
from service.usecases.lists.list_results import parse_result_key, result_not_found


class ResultPageQuery(Query):
    """The position in the list of artifacts."""

    starting_after: Cursor | None = None


async def show_result(request: web.Request) -> web.Response:
    """Show a result."""
    query, key = parse_query(request, ResultPageQuery), parse_result_key(request.match_info["id"])
    found = await find_result(request.app[RESOURCES], get_caller(request), key, query.starting_after)
    if found is None:
        raise result_not_found(request.match_info["id"])
    links = [page_url(request.app, "result", id=past["id"]) for past in found.history]
    return render(request, "result.html", {**found._asdict(), "run": found.result["run"], "history_links": links})
