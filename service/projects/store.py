"""Projects: each project of a stored run has a row.

A transaction that stores runs locks their projects, so that a project is never deleted while it has new runs.
"""

from collections.abc import Collection, Mapping
from typing import Any, Final

from service.cases.model import CasesVersion
from service.database.database import Connection, Row
from service.database.errors import RowDeleted, RowLocked
from service.database.pages import RowPage, fetch_requested
from service.database.statements import compose, statements
from service.domain.ids import OrgId
from service.projects.contract import AutoQuarantine, AutoQuarantineStatus, Project

_SQL: Final = statements("projects")

ProjectRef = tuple[OrgId, str]


class ProjectBeingDeleted(RowLocked):
    """A project is being deleted. Its new runs can be stored after that."""


async def lock_or_insert(
    connection: Connection, refs: Collection[ProjectRef], versions: Mapping[OrgId, CasesVersion]
) -> None:
    """Prevent the deletion of the projects until the end of the transaction. Insert those that aren't stored yet.

    Call this at the end of a transaction: another transaction that inserts the same project waits for its commit.
    `versions` are those of the cases that the process knows. Raises ProjectBeingDeleted, and RowDeleted if such cases
    were deleted with their project.
    """
    known = {org_id: version.deleted_projects for org_id, version in versions.items()}
    missing = set(refs) - await _lock(connection, refs, known)
    if missing:
        rows = [(*ref, known.get(ref[0], 0)) for ref in sorted(missing)]
        await connection.execute(_SQL["insert_unseen"], *map(list, zip(*rows, strict=True)))
        await _check_inserted(connection, missing, known)


async def lock_untrusted(connection: Connection, ref: ProjectRef, versions: Mapping[OrgId, CasesVersion]) -> bool:
    """Prevent the deletion of a project like `lock_or_insert`, but don't insert it.

    Return whether the project is stored and allows untrusted uploads.
    """
    known = {org_id: version.deleted_projects for org_id, version in versions.items()}
    return ref in await _lock(connection, [ref], known) and await allows_untrusted(connection, *ref)


async def allows_untrusted(connection: Connection, org_id: OrgId, project_id: str) -> bool:
    """Return whether the project is stored and allows untrusted uploads."""
    return bool(await connection.fetchval(_SQL["allows_untrusted"], org_id, project_id))


async def _lock(connection: Connection, refs: Collection[ProjectRef], known: Mapping[OrgId, int]) -> set[ProjectRef]:
    """Lock the stored projects among these, and return them. `known` is the number of deleted projects."""
    locked: set[ProjectRef] = set()
    for row in await fetch_requested(connection, "locked_projects", refs, ["project_ids"]):
        ref = OrgId(row["org_id"]), str(row["project_id"])
        if row["is_deleted"]:
            raise ProjectBeingDeleted(f"project {ref[1]!r} is being deleted")
        if row["deleted_projects"] > known.get(ref[0], -1):
            raise RowDeleted(f"project {ref[1]!r} was deleted and stored again concurrently")
        locked.add(ref)
    return locked


async def _check_inserted(connection: Connection, refs: set[ProjectRef], known: Mapping[OrgId, int]) -> None:
    """Raise RowDeleted if one of the projects was deleted since the process has read which cases are stored.

    The new rows lock the projects, so the number of deleted projects counts all deletions before the insertion.
    """
    locked = await _lock(connection, refs, known)
    rows = await connection.fetch(_SQL["count_deleted"], sorted({org_id for org_id, _ in refs}))
    if locked != refs or any(row["deleted_projects"] != known.get(OrgId(row["org_id"])) for row in rows):
        raise RowDeleted("a project was deleted concurrently")


async def change(connection: Connection, org_id: OrgId, project_id: str, changes: Mapping[str, Any]) -> bool:
    """Change these columns. Return False if the project doesn't exist."""
    values = map(changes.get, ("default_branch", "code_url_pattern", "untrusted_uploads", "auto_quarantine"))
    return await connection.fetchval(_SQL["change"], org_id, project_id, list(changes), *values) is not None


async def lock_policy(connection: Connection, org_id: OrgId, project_id: str) -> tuple[str, AutoQuarantine] | None:
    """Return the default branch and the policy of a project, if it has one and isn't being deleted.

    A change of the project waits. Requires the role results_worker.
    """
    row = await connection.fetchrow(_SQL["lock_policy"], org_id, project_id)
    return None if row is None else (row["default_branch"], row["auto_quarantine"])


async def set_policy_status(
    connection: Connection, org_id: OrgId, project_id: str, status: AutoQuarantineStatus
) -> bool:
    """Store how far a policy uses its limit. Return whether this is a change. Requires the role results_worker."""
    return await connection.fetchval(_SQL["set_policy_status"], org_id, project_id, status) is not None


async def request_deletion(connection: Connection, org_id: OrgId, project_id: str) -> bool:
    """Request the deletion of a project. Return False if it doesn't exist.

    The lock waits for the transactions that store runs of the project. Later ones raise ProjectBeingDeleted.
    """
    if await connection.fetchval(_SQL["lock"], org_id, project_id) is None:
        return False
    await connection.execute(_SQL["request_deletion"], org_id, project_id)
    return True


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
    project_id, default_branch, last_run_at, code_url_pattern, untrusted_uploads, policy, status, *times = row
    created_at, deletion_requested_at = times
    return {
        "project_id": project_id, "default_branch": default_branch, "last_run_at": last_run_at,
        "code_url_pattern": code_url_pattern, "untrusted_uploads": untrusted_uploads, "auto_quarantine": policy,
        "auto_quarantine_status": status, "created_at": created_at, "deletion_requested_at": deletion_requested_at,
    }  # fmt: skip
