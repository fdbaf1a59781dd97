"""Handlers for projects: the list, one project, and its default branch."""

from aiohttp import web

from service.api.http.authentication import get_caller
from service.api.http.mutations import mutate
from service.api.http.parsing import parse_body, parse_query
from service.api.http.responses import reply_json, reply_page, reply_with_etag
from service.api.resources import RESOURCES
from service.contracts.projects import ProjectPatch
from service.contracts.queries import PageQuery
from service.domain.errors import NotFound
from service.domain.ids import OrgId
from service.domain.texts import is_storable, replace_unstorable
from service.store import projects
from service.store.postgres.database import Connection, as_organization
from service.store.queries import projects as read_projects
from service.usecases.lists.list_projects import list_projects as read_list


async def list_projects(request: web.Request) -> web.Response:
    """List projects in the order of their IDs."""
    page = await read_list(request.app[RESOURCES].list_pool, get_caller(request), parse_query(request, PageQuery))
    return reply_page(page)


async def get_project(request: web.Request) -> web.Response:
    """Get one project."""
    caller, project_id = get_caller(request), _project_id(request)
    async with as_organization(request.app[RESOURCES].pool, caller.org_id) as connection:
        return reply_with_etag(await _find(connection, caller.org_id, project_id))


async def update_project(request: web.Request) -> web.Response:
    """Change the default branch of a project."""
    body, caller, project_id = await parse_body(request, ProjectPatch), get_caller(request), _project_id(request)

    async def change(connection: Connection) -> web.Response:
        if not await projects.set_default_branch(connection, caller.org_id, project_id, body.default_branch):
            raise _project_not_found(project_id)
        return reply_json(await _find(connection, caller.org_id, project_id))

    return await mutate(request, change)


def _project_id(request: web.Request) -> str:
    """Return the project of the path. Raises NotFound if the key is bound to another one, or the ID can't be stored."""
    project_id, own = request.match_info["project_id"], get_caller(request).project_id
    if not is_storable(project_id) or own not in (None, project_id):
        raise _project_not_found(project_id)
    return project_id


async def _find(connection: Connection, org_id: OrgId, project_id: str) -> str:
    found = await read_projects.find_one(connection, org_id, project_id)
    if found is None:
        raise _project_not_found(project_id)
    return found


def _project_not_found(project_id: str) -> NotFound:
    """Return the same error for a project that is unknown, of another organization, or not that of the key."""
    return NotFound(f"project {replace_unstorable(project_id[:100])!r} not found")
