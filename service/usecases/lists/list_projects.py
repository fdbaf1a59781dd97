"""A page of the list of projects."""

from service.contracts.queries import PageQuery
from service.contracts.responses import Project
from service.domain.cursors import TEXT, Cursors
from service.domain.keys import Caller
from service.store.postgres.database import Connection, Pool
from service.store.queries import projects
from service.store.queries.pages import RowPage
from service.usecases.lists.pages import ListPage, read_page


async def list_projects(pool: Pool, caller: Caller, query: PageQuery) -> ListPage[Project]:
    """Return projects in the order of their IDs. Raises InvalidRequest for a cursor of another list."""

    async def read(connection: Connection, after: str | None) -> RowPage[Project, str]:
        return await projects.list_page(connection, caller.org_id, caller.project_id, after, query.limit)

    cursors = Cursors(TEXT, "projects", caller.org_id, {"project_id": caller.project_id})
    return await read_page(pool, caller, cursors, query.starting_after, read)
