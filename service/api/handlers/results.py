"""Handlers for results: the list and one result."""

from aiohttp import web

from service.api.http.authentication import get_caller
from service.api.http.parsing import parse_filter, parse_query
from service.api.http.responses import reply_page, reply_with_etag
from service.api.server.resources import RESOURCES
from service.contracts.queries import ResultQuery
from service.domain.errors import NotFound
from service.domain.filters import restrict_to_project
from service.domain.ids import CaseKey, RunKey, parse_result_id
from service.store.postgres.database import as_organization
from service.store.queries import results as read_results
from service.usecases.lists.list_results import list_results as read_list


async def list_results(request: web.Request) -> web.Response:
    """List results, newest run first."""
    query, caller = parse_query(request, ResultQuery), get_caller(request)
    filter_ = restrict_to_project(parse_filter(request, ResultQuery), caller.project_id)
    if filter_ is None:
        return reply_page("[]", None)
    return reply_page(*await read_list(request.app[RESOURCES].list_pool, caller.org_id, filter_, query))


async def get_result(request: web.Request) -> web.Response:
    """Get one result with its failure and attempts."""
    caller, key, resources = get_caller(request), result_key(request), request.app[RESOURCES]
    async with as_organization(resources.pool, caller.org_id) as connection:
        text = await read_results.find_one(
            connection, caller.org_id, key, caller.project_id, resources.settings.link_base
        )
    if text is None:
        raise result_not_found(request)
    return reply_with_etag(text)


def result_key(request: web.Request) -> tuple[RunKey, CaseKey]:
    """Return the key of the ID in the path. Raises NotFound if the ID is malformed."""
    key = parse_result_id(request.match_info["id"])
    if key is None:
        raise result_not_found(request)
    return key


def result_not_found(request: web.Request) -> NotFound:
    """Return the same error for an ID that is malformed, unknown, or of another organization."""
    return NotFound(f"result {request.match_info['id'][:100]!r} not found")
