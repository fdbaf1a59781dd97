"""Handlers for projects: the list, one project, and its changes."""

from aiohttp import web

from service.api.http.authentication import get_caller
from service.api.http.mutations import mutate
from service.api.http.parsing import parse_body, parse_query
from service.api.http.responses import add_etag, reply, reply_page
from service.api.resources import RESOURCES
from service.contracts.projects import ProjectPatch
from service.contracts.queries import PageQuery
from service.usecases.administration.mutate import Transaction
from service.usecases.lists.find_project import change_project, find_project, read_project
from service.usecases.lists.list_projects import list_projects as read_list


async def list_projects(request: web.Request) -> web.Response:
    """List projects in the order of their IDs."""
    page = await read_list(request.app[RESOURCES].list_pool, get_caller(request), parse_query(request, PageQuery))
    return reply_page(page)


async def get_project(request: web.Request) -> web.Response:
    """Get one project."""
    found = await find_project(request.app[RESOURCES].pool, get_caller(request), request.match_info["project_id"])
    return add_etag(reply(found))


async def update_project(request: web.Request) -> web.Response:
    """Change fields of a project."""
    body, caller = await parse_body(request, ProjectPatch), get_caller(request)
    project_id = request.match_info["project_id"]

    async def change(transaction: Transaction) -> web.Response:
        await change_project(transaction, caller, project_id, body.changes())
        return reply(await read_project(transaction, caller, project_id))

    return await mutate(request, change)
