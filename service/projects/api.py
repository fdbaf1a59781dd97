"""Handlers for projects: the list, one project, its changes, and its deletion."""

from typing import Final
from urllib.parse import quote

from aiohttp import web

from service.contracts.queries import PageQuery
from service.http.authentication import get_caller
from service.http.mutations import mutate, mutate_object
from service.http.parsing import parse_body, parse_query
from service.http.process import RESOURCES
from service.http.responses import add_etag, reply, reply_page
from service.http.routes import Operation, Route, page_of, with_etag
from service.mutations.operations import Transaction
from service.projects import operations
from service.projects.contract import Project, ProjectDeletion, ProjectPatch


async def list_projects(request: web.Request) -> web.Response:
    """List projects in the order of their IDs."""
    query, caller = parse_query(request, PageQuery), get_caller(request)
    return reply_page(await operations.list_projects(request.app[RESOURCES].list_pool, caller, query))


async def get_project(request: web.Request) -> web.Response:
    """Get one project."""
    pool, caller = request.app[RESOURCES].pool, get_caller(request)
    return add_etag(reply(await operations.find_project(pool, caller, request.match_info["project_id"])))


async def update_project(request: web.Request) -> web.Response:
    """Change fields of a project."""
    body, caller = await parse_body(request, ProjectPatch), get_caller(request)
    project_id, changes = request.match_info["project_id"], body.changes()
    return await mutate_object(request, operations.change_project, caller, project_id, changes)


async def delete_project(request: web.Request) -> web.Response:
    """Request the deletion of a project with its runs, cases, and quarantines."""
    confirmed, caller = parse_query(request, ProjectDeletion).confirm, get_caller(request)
    project_id = request.match_info["project_id"]

    async def delete(transaction: Transaction) -> web.Response:
        await operations.request_deletion(transaction, caller, project_id, confirmed)
        project = await operations.read_project(transaction, caller, project_id)
        return reply(project, 202, {"Location": f"/v1/projects/{quote(project_id, safe='')}"})

    return await mutate(request, delete)


ROUTES: Final = (
    Route("GET", "/projects", list_projects, "results:read", Operation(
        "list_projects", "List projects in the order of their IDs", page_of(Project), PageQuery,
    )),
    Route("GET", "/projects/{project_id}", get_project, "results:read", Operation(
        "get_project", "Get a project", with_etag(Project), errors=("not_found",),
    )),
    Route("PATCH", "/projects/{project_id}", update_project, "projects:manage", Operation(
        "update_project", "Update fields of a project", {200: Project}, body=ProjectPatch,
        errors=("not_found",),
    )),
    Route("DELETE", "/projects/{project_id}", delete_project, "projects:manage", Operation(
        "delete_project", "Delete a project with its runs, cases, and quarantines", {202: Project}, ProjectDeletion,
        errors=("not_found",),
        description="The deletion runs in the background, also after an interruption. The project is found until it is"
        " finished. A repeated request changes nothing. Uploads and events of the project that arrive meanwhile are"
        " stored after that, and create the project again. Decisions and the audit trail stay.",
    )),
)  # fmt: skip
