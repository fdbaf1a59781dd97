"""One result: its failure, its attempts, its output, and its artifacts."""

from aiohttp import web

from service.api.http.authentication import get_caller
from service.api.http.parsing import parse_query
from service.api.resources import RESOURCES
from service.console.pages import page_url, render
from service.console.result_details import find_result_page
from service.contracts.queries import Cursor, Query


class ResultPageQuery(Query):
    """The position in the list of artifacts."""

    starting_after: Cursor | None = None


async def show_result(request: web.Request) -> web.Response:
    """Show a result."""
    after, result_id = parse_query(request, ResultPageQuery).starting_after, request.match_info["id"]
    found = await find_result_page(request.app[RESOURCES], get_caller(request), result_id, after)
    links = [page_url(request.app, "result", id=past.id) for past in found.history]
    context = {"result": found.detail.result, "run": found.detail.run, "history_links": links}
    return render(request, "result.html", found._asdict() | context)
