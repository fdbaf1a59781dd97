"""Queries for projects: a page of the list and one project."""

from service.contracts.responses import Project
from service.domain.ids import OrgId
from service.store.postgres.composition import compose
from service.store.postgres.database import Connection, Row
from service.store.queries.pages import RowPage


async def list_page(
    connection: Connection, org_id: OrgId, only: str | None, after: str | None, limit: int
) -> RowPage[Project, str]:
    """Return the next projects in the order of their IDs. `only` is the project of a key that is bound to one."""
    values = {"org_id": org_id, "only": only, "after": after or "", "page": limit}
    rows = await compose("page_of_projects").fetch_rows(connection, values)
    return RowPage(list(map(_project, rows[:limit])), rows[limit - 1]["project_id"] if len(rows) > limit else None)


async def find_one(connection: Connection, org_id: OrgId, project_id: str) -> Project | None:
    """Return one project, or None if the organization doesn't have it."""
    rows = await compose("one_project").fetch_rows(connection, {"org_id": org_id, "project_id": project_id})
    return _project(rows[0]) if rows else None


def _project(row: Row) -> Project:
    project_id, default_branch, last_run_at, code_url_pattern, untrusted_uploads, created_at, deletion_requested_at = (
        row
    )
    return {
        "project_id": project_id, "default_branch": default_branch, "last_run_at": last_run_at,
        "code_url_pattern": code_url_pattern, "untrusted_uploads": untrusted_uploads, "created_at": created_at,
        "deletion_requested_at": deletion_requested_at,
    }  # fmt: skip
