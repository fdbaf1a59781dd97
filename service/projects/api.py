"""Handlers for projects: the list, one project, its changes, and its deletion."""

from urllib.parse import quote

from aiohttp import web

from service.contracts.queries import PageQuery
from service.http.authentication import get_caller
from service.http.mutations import mutate
from service.http.parsing import parse_body, parse_query
from service.http.process import RESOURCES
from service.http.responses import add_etag, reply, reply_page
from service.mutations.operations import Transaction
from service.projects.contract import ProjectDeletion, ProjectPatch
from service.projects.operations import change_project, find_project, read_project, request_deletion
from service.projects.operations import list_projects as read_list


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


async def delete_project(request: web.Request) -> web.Response:
    """Request the deletion of a project with its runs, cases, and quarantines."""
    confirmed, caller = parse_query(request, ProjectDeletion).confirm, get_caller(request)
    project_id = request.match_info["project_id"]

    async def delete(transaction: Transaction) -> web.Response:
        await request_deletion(transaction, caller, project_id, confirmed)
        project = await read_project(transaction, caller, project_id)
        return reply(project, 202, {"Location": f"/v1/projects/{quote(project_id, safe='')}"})

    return await mutate(request, delete)
