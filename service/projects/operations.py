"""Projects for a caller: the list, one project, its changes, and the request to delete it."""

from collections.abc import Mapping
from typing import Any

from service.contracts.queries import PageQuery
from service.database.database import Connection, Pool, as_organization
from service.database.pages import ListPage, RowPage, read_page
from service.domain.cursors import TEXT, Cursors
from service.domain.errors import InvalidRequest, NotFound
from service.domain.texts import is_storable, replace_unstorable
from service.identity.keys.model import Caller
from service.projects import store
from service.projects.contract import Project
from service.quarantines import store as quarantines_store
from service.states import store as states_store


async def list_projects(pool: Pool, caller: Caller, query: PageQuery) -> ListPage[Project]:
    """Return projects in the order of their IDs. Raises InvalidRequest for a cursor of another list."""

    async def read(connection: Connection, after: str | None) -> RowPage[Project, str]:
        return await store.list_page(connection, caller.org_id, caller.project_id, after, query.limit)

    cursors = Cursors(TEXT, "projects", caller.org_id, {"project_id": caller.project_id})
    return await read_page(pool, caller, cursors, query.starting_after, read)


async def find_project(pool: Pool, caller: Caller, project_id: str) -> Project:
    """Return a project. Raises NotFound."""
    async with as_organization(pool, caller.org_id) as connection:
        return await read_project(connection, caller, project_id)


async def read_project(connection: Connection, caller: Caller, project_id: str) -> Project:
    """Return a project as this transaction sees it. Raises NotFound."""
    _check_visible(caller, project_id)
    found = await store.find_one(connection, caller.org_id, project_id)
    if found is None:
        raise _project_not_found(project_id)
    return found


async def change_project(
    connection: Connection, caller: Caller, project_id: str, changes: Mapping[str, Any]
) -> Project:
    """Change these fields of a project, and return it. Raises NotFound."""
    _check_visible(caller, project_id)
    if not await store.change(connection, caller.org_id, project_id, changes):
        raise _project_not_found(project_id)
    if "auto_quarantine" in changes and changes["auto_quarantine"] is None:
        await quarantines_store.expire_of_policy(connection, caller.org_id, project_id)
    if changes.keys() & {"default_branch", "auto_quarantine"}:
        await states_store.request_comparison(connection, caller.org_id)
    return await read_project(connection, caller, project_id)


async def request_deletion(connection: Connection, caller: Caller, project_id: str, confirmed: str) -> None:
    """Let upkeep delete a project. A repeated request changes nothing. Requires a transaction.

    Raises NotFound, and InvalidRequest if `confirmed` isn't the ID of the project.
    """
    if confirmed != project_id:
        raise InvalidRequest(f"confirm: must be {replace_unstorable(project_id[:100])!r}, the project_id", "confirm")
    _check_visible(caller, project_id)
    if not await store.request_deletion(connection, caller.org_id, project_id):
        raise _project_not_found(project_id)


def _check_visible(caller: Caller, project_id: str) -> None:
    """Raise NotFound if the key is bound to another project, or if PostgreSQL can't store the ID."""
    if not is_storable(project_id) or caller.project_id not in (None, project_id):
        raise _project_not_found(project_id)


def _project_not_found(project_id: str) -> NotFound:
    """Return the same error for a project that is unknown, of another organization, or not the project of the key."""
    return NotFound(f"project {replace_unstorable(project_id[:100])!r} not found")
