"""Queries for projects: a page of the list and one project, as JSON that PostgreSQL writes."""

from service.contracts.responses import Project
from service.domain.ids import OrgId
from service.store.postgres.composition import compose
from service.store.postgres.database import Connection
from service.store.queries.pages import RowPage, parse_page


async def list_page(
    connection: Connection, org_id: OrgId, only: str | None, after: str | None, limit: int
) -> RowPage[Project, str]:
    """Return the next projects in the order of their IDs. `only` is the project of a key that is bound to one."""
    values = {"org_id": org_id, "only": only, "after": after or "", "page": limit}
    return parse_page(await compose("page_of_projects").fetch_row(connection, values))


async def find_one(connection: Connection, org_id: OrgId, project_id: str) -> str | None:
    """Return one project as JSON, or None if the organization doesn't have it."""
    text: str | None = await compose("one_project").fetch_value(
        connection, {"org_id": org_id, "project_id": project_id}
    )
    return text
