"""Exports as rows. Each write of a worker checks its lease."""

from collections.abc import Mapping, Sequence
from datetime import datetime, timedelta
from typing import Any, Final, NamedTuple
from uuid import UUID

import asyncpg

from service.database.database import Connection
from service.database.pages import RowPage, find_object, page_by_id
from service.database.statements import statements
from service.domain.ids import OrgId
from service.exports.contract import Export
from service.exports.model import MAX_ATTEMPTS, ExportRef
from service.tasks.model import Lease
from service.tracing import spans
from service.tracing.spans import TraceContext

_SQL: Final = statements("exports")


class LeasedExport(NamedTuple):
    """An export with a new lease. `request` is the stored document of the request."""

    lease: Lease
    request: dict[str, Any]
    attempt_count: int
    created_at: datetime
    trace_context: TraceContext | None = None  # of the request


class ExportScope(NamedTuple):
    """The project and the run to which an export is restricted."""

    project_id: str | None
    run_id: str | None


class ExportFile(NamedTuple):
    """The stored file of a finished export."""

    rows: int
    size: int  # bytes
    sha256: bytes
    path: str
    position: str  # in the event stream; the file contains all earlier changes


async def insert(
    connection: Connection, ref: ExportRef, request: Mapping[str, Any], project_id: str | None, run_id: str | None
) -> None:
    """Insert a queued export."""
    context = spans.current_context()
    await connection.execute(_SQL["insert"], ref.org_id, ref.export_id, request, project_id, run_id, context)


async def find_one(connection: Connection, ref: ExportRef, project_id: str | None, link_base: str) -> Export | None:
    """Return the export, or None if it doesn't exist in the organization (or in the project, if given)."""
    values = {
        "org_id": ref.org_id, "export_id": ref.export_id, "project_id": project_id, "link_base": link_base,
    }  # fmt: skip
    found: Export | None = await find_object(connection, "one_export", values)
    return found


async def list_page(
    connection: Connection, org_id: OrgId, project_id: str | None, before: str | None, limit: int, link_base: str
) -> RowPage[Export, str]:
    """Return a page of exports with IDs lower than `before`, newest first."""
    values = {"org_id": org_id, "project_id": project_id, "link_base": link_base}
    return await page_by_id(connection, "listed_exports", "exp", before, limit, values)


async def find_file(connection: Connection, ref: ExportRef, project_id: str | None) -> asyncpg.Record | None:
    """Return status, path, size, sha256, request, run_id, error, and created_at of an export."""
    return await connection.fetchrow(_SQL["find_file"], ref.org_id, ref.export_id, project_id)


async def find_finished(connection: Connection, refs: Sequence[tuple[OrgId, str]]) -> set[tuple[OrgId, str]]:
    """Return the exports, each with its organization and its ID, that are finished, canceled, or deleted."""
    rows = await connection.fetch(_SQL["find_finished"], *map(list, zip(*refs, strict=True)))
    return {(OrgId(row["org_id"]), row["export_id"]) for row in rows}


async def cancel(connection: Connection, ref: ExportRef, project_id: str | None) -> bool:
    """Cancel a queued or running export. Return False if there is no such export."""
    return await connection.fetchval(_SQL["cancel"], ref.org_id, ref.export_id, project_id) is not None


async def delete(connection: Connection, ref: ExportRef) -> None:
    """Delete the row of an export."""
    await connection.execute(_SQL["delete"], ref.org_id, ref.export_id)


async def lease(
    connection: Connection, token: UUID, duration: timedelta, max_running_per_organization: int, *, takes_over: bool
) -> LeasedExport | None:
    """Lease the next due export. Return None if no export is due.

    With `takes_over`, exports with an expired lease are due as well.
    """
    async with connection.transaction():
        await connection.execute(_SQL["lock_leases"])
        row = await connection.fetchrow(
            _SQL["lease"], token, duration, max_running_per_organization, MAX_ATTEMPTS, takes_over
        )
    if row is None:
        return None
    lease_of_export = Lease(OrgId(row["org_id"]), row["export_id"], token)
    return LeasedExport(lease_of_export, row["request"], row["attempt_count"], row["created_at"], row["trace_context"])


async def release_unconfirmed(connection: Connection, token: UUID) -> None:
    """Return the export to the queue that a failed call of `lease` has leased, if any, without counting the attempt."""
    await connection.execute(_SQL["release_unconfirmed"], token)


async def succeed(connection: Connection, lease: Lease, file: ExportFile, retention: timedelta) -> datetime | None:
    """Mark an export as succeeded. Return the expiry time of the file, or None if the lease is lost."""
    expires_at: datetime | None = await connection.fetchval(_SQL["succeed"], *lease, *file, retention)
    return expires_at


async def fail(connection: Connection, lease: Lease, error: str) -> ExportScope | None:
    """Mark an export as failed, and return its scope. Return None if the lease is lost."""
    row = await connection.fetchrow(_SQL["fail"], *lease, error)
    return None if row is None else ExportScope(*row)


async def find_abandoned(connection: Connection) -> list[Lease]:
    """Return the leases of the exports whose worker crashed in the last attempt."""
    rows = await connection.fetch(_SQL["find_abandoned"], MAX_ATTEMPTS)
    return [Lease(OrgId(row["org_id"]), row["export_id"], row["claim"]) for row in rows]


async def find_orphaned_files(connection: Connection, paths: Sequence[str]) -> list[str]:
    """Return the paths, of all organizations, that belong to no export."""
    return [row["path"] for row in await connection.fetch(_SQL["find_orphaned_files"], paths)]


async def find_expired(connection: Connection) -> list[tuple[ExportRef, str]]:
    """Return the exports whose files have expired, with the paths of the files, oldest first."""
    rows = await connection.fetch(_SQL["find_expired"])
    return [(ExportRef(OrgId(row["org_id"]), row["export_id"]), row["path"]) for row in rows]


async def expire(connection: Connection, ref: ExportRef) -> None:
    """Mark an export as expired."""
    await connection.execute(_SQL["expire"], ref.org_id, ref.export_id)


async def insert_artifact(
    connection: Connection,
    org_id: OrgId,
    run_id: str,
    project_id: str | None,
    artifact_key: int,
    name: str,
    content_type: str,
    file: ExportFile,
    expires_at: datetime,
) -> None:
    """Insert the file as an artifact of the run. Does nothing if the organization, or the project, has no such run."""
    await connection.execute(
        _SQL["insert_artifact"], org_id, run_id, artifact_key, name, content_type, file.size, file.sha256, file.path,
        expires_at, project_id,
    )  # fmt: skip


async def delete_artifact(connection: Connection, ref: ExportRef, path: str) -> None:
    """Delete the artifact of the file. Call this function before `delete`, because it reads the row of the export."""
    await connection.execute(_SQL["delete_artifact"], ref.org_id, path, ref.export_id)
