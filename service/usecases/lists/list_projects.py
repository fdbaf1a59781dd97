"""A page of the list of projects."""

from service.contracts.queries import PageQuery
from service.contracts.responses import Project
from service.domain.cursors import TEXT, Cursors
from service.domain.keys import Caller
from service.store.postgres.database import Pool, as_organization
from service.store.queries import projects
from service.usecases.lists.pages import ListPage


async def list_projects(pool: Pool, caller: Caller, query: PageQuery) -> ListPage[Project]:
    """Return projects in the order of their IDs. Raises InvalidRequest for a cursor of another list."""
    cursors = Cursors(TEXT, "projects", caller.org_id, {"project_id": caller.project_id})
    after = cursors.read(query.starting_after)
    async with as_organization(pool, caller.org_id) as connection:
        page = await projects.list_page(connection, caller.org_id, caller.project_id, after, query.limit)
    return ListPage(page.rows, cursors.write(page.next))
