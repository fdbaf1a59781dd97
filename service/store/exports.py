"""Export jobs as rows. Whoever works on one writes under its claim; a claim that is lost writes nothing."""

from collections.abc import Mapping, Sequence
from datetime import datetime, timedelta
from typing import Any, Final, NamedTuple
from uuid import UUID

import asyncpg

from service.domain.exports import MAX_TRIES, ExportAddress
from service.domain.ids import OrgId
from service.store.postgres.composition import IdPage, compose, page_by_id
from service.store.postgres.database import Connection
from service.store.postgres.statements import statements

_SQL: Final = statements("exports")
_BEHIND_ALL: Final = "exp_g"  # sorts after every id


class Claim(NamedTuple):
    """The right to work on a job."""

    org_id: OrgId
    export_id: str
    token: UUID

    @property
    def job(self) -> ExportAddress:
        """Whose right it is."""
        return ExportAddress(self.org_id, self.export_id)


class ClaimedExport(NamedTuple):
    """A job that was just claimed; `request` is the document that it was asked for with."""

    claim: Claim
    request: dict[str, Any]
    attempt_count: int
    created_at: datetime


class MadeFile(NamedTuple):
    """The file of a finished job, as it lies in storage."""

    rows: int
    size: int  # bytes
    sha256: bytes
    path: str


async def insert(
    connection: Connection, job: ExportAddress, request: Mapping[str, Any], project_id: str | None, run_id: str | None
) -> None:
    """Stores a new job."""
    await connection.execute(_SQL["insert"], job.org_id, job.export_id, request, project_id, run_id)


async def find_one(connection: Connection, job: ExportAddress, project_id: str | None, link_base: str) -> str | None:
    """The job as JSON; None where there is none in the organization, or in the project if one is given."""
    values = {
        "org_id": job.org_id, "export_id": job.export_id, "project_id": project_id, "link_base": link_base,
    }  # fmt: skip
    text: str | None = await compose("one_export").fetch_value(connection, values)
    return text


async def list_page(
    connection: Connection, org_id: OrgId, project_id: str | None, before: str | None, limit: int, link_base: str
) -> IdPage:
    """Jobs older than the one with the id `before`, newest first."""
    values = {
        "org_id": org_id, "project_id": project_id, "before": before or _BEHIND_ALL, "page": limit,
        "link_base": link_base,
    }  # fmt: skip
    return await page_by_id(connection, "listed_exports", values)


async def find_file(connection: Connection, job: ExportAddress, project_id: str | None) -> asyncpg.Record | None:
    """status, path, size, sha256, request, run_id, error and created_at of a job."""
    return await connection.fetchrow(_SQL["find_file"], job.org_id, job.export_id, project_id)


async def find_over(connection: Connection, org_id: OrgId, export_ids: Sequence[str]) -> set[str]:
    """Which of these jobs are over, one way or another."""
    return {row["export_id"] for row in await connection.fetch(_SQL["find_over"], org_id, list(export_ids))}


async def cancel(connection: Connection, job: ExportAddress, project_id: str | None) -> bool:
    """Ends a job that is not finished; False where there is none."""
    return await connection.fetchval(_SQL["cancel"], job.org_id, job.export_id, project_id) is not None


async def delete(connection: Connection, job: ExportAddress) -> None:
    """Forgets a job."""
    await connection.execute(_SQL["delete"], job.org_id, job.export_id)


async def claim(connection: Connection, token: UUID, lease: timedelta, at_once: int) -> ClaimedExport | None:
    """The next job that may run, with a lease; None where there is none. `at_once` is for each organization."""
    async with connection.transaction():
        await connection.execute(_SQL["lock_claims"])
        row = await connection.fetchrow(_SQL["claim"], token, lease, at_once, MAX_TRIES)
    if row is None:
        return None
    claimed = Claim(OrgId(row["org_id"]), row["export_id"], token)
    return ClaimedExport(claimed, row["request"], row["attempt_count"], row["created_at"])


async def beat(connection: Connection, held: Claim, lease: timedelta, progress: float | None) -> bool:
    """Prolongs the lease; False where the claim is lost, because the job was canceled or taken over."""
    return await connection.fetchval(_SQL["beat"], *held, lease, progress) is not None


async def succeed(connection: Connection, held: Claim, file: MadeFile, kept: timedelta) -> datetime | None:
    """Ends a job well; returns until when the file is kept, None where the claim is lost."""
    expires_at: datetime | None = await connection.fetchval(_SQL["succeed"], *held, *file, kept)
    return expires_at


async def try_again(connection: Connection, held: Claim, error: str, wait: timedelta) -> None:
    """Puts a job back, to be tried again after the wait."""
    await connection.execute(_SQL["try_again"], *held, error, wait)


async def give_back(connection: Connection, held: Claim) -> None:
    """Puts a job back as if it had not been claimed."""
    await connection.execute(_SQL["give_back"], *held)


async def fail(connection: Connection, held: Claim, error: str) -> bool:
    """Ends a job badly; False where the claim is lost."""
    return await connection.fetchval(_SQL["fail"], *held, error) is not None


async def find_abandoned(connection: Connection) -> list[tuple[Claim, dict[str, Any]]]:
    """Jobs, with their requests, whose last try ended with its worker."""
    rows = await connection.fetch(_SQL["find_abandoned"], MAX_TRIES)
    return [(Claim(OrgId(row["org_id"]), row["export_id"], row["claim"]), row["request"]) for row in rows]


async def find_unowned(connection: Connection, paths: Sequence[str]) -> list[str]:
    """Which of these files, of all organizations, belong to no job."""
    return [row["path"] for row in await connection.fetch(_SQL["find_unowned"], paths)]


async def find_expired(connection: Connection) -> list[tuple[ExportAddress, str]]:
    """Jobs whose files have been kept long enough, with the paths of these, oldest first."""
    rows = await connection.fetch(_SQL["find_expired"])
    return [(ExportAddress(OrgId(row["org_id"]), row["export_id"]), row["path"]) for row in rows]


async def expire(connection: Connection, job: ExportAddress) -> None:
    """Marks a job whose file is gone."""
    await connection.execute(_SQL["expire"], job.org_id, job.export_id)


async def insert_artifact(
    connection: Connection,
    org_id: OrgId,
    run_id: str,
    artifact_key: int,
    name: str,
    content_type: str,
    file: MadeFile,
    expires_at: datetime,
) -> None:
    """Lists the file under the run; does nothing where there is no such run."""
    await connection.execute(
        _SQL["insert_artifact"], org_id, run_id, artifact_key, name, content_type, file.size, file.sha256, file.path,
        expires_at,
    )  # fmt: skip


async def delete_artifact(connection: Connection, job: ExportAddress, path: str) -> None:
    """Takes the file off the run's list; before the job itself is deleted."""
    await connection.execute(_SQL["delete_artifact"], job.org_id, path, job.export_id)
