"""Uploaded reports as rows, receipts with an upload. Whoever reads one writes under its claim, or not at all."""

from collections.abc import Sequence
from datetime import datetime, timedelta
from typing import Any, Final, NamedTuple
from uuid import UUID

from service.domain.ids import OrgId
from service.domain.jobs import Claim
from service.domain.reports import MAX_TRIES, Upload
from service.store.postgres.database import Connection
from service.store.postgres.statements import statements

_SQL: Final = statements("reports")


class NewReport(NamedTuple):
    """A report that was uploaded. `source` and `event_id` are the same for the same report of the same run."""

    org_id: OrgId
    receipt_id: str
    source: str
    event_id: str
    body_sha256: bytes
    run_id: str | None
    project_id: str | None
    upload: Upload


class UploadedFile(NamedTuple):
    """A file of an upload; `folder` is the receipt id that the upload began with."""

    org_id: OrgId
    folder: str
    path: str


class ClaimedReport(NamedTuple):
    """A report that was just claimed. `received_at` is the same in every try; without a run_id it says that itself."""

    claim: Claim
    source: str
    event_id: str
    body_sha256: bytes
    run_id: str | None
    upload: Upload
    attempt_count: int
    received_at: datetime


async def queue(connection: Connection, report: NewReport) -> str | None:
    """Queues the report; returns the id of its receipt, or None where it was accepted before."""
    receipt_id: str | None = await connection.fetchval(_SQL["queue"], *report[:-1], report.upload.to_document())
    return receipt_id


async def find_receipt(connection: Connection, report: NewReport) -> str:
    """The receipt of the same report, which was accepted before."""
    receipt_id: str = await connection.fetchval(_SQL["find_receipt"], report.org_id, report.source, report.event_id)
    return receipt_id


async def claim(connection: Connection, token: UUID, lease: timedelta) -> ClaimedReport | None:
    """The next report that waits, with a lease; None where there is none."""
    row = await connection.fetchrow(_SQL["claim"], token, lease, MAX_TRIES)
    if row is None:
        return None
    return ClaimedReport(
        Claim(OrgId(row["org_id"]), row["receipt_id"], token), row["source"], row["event_id"], row["body_sha256"],
        row["run_id"], Upload.of_document(row["upload"]), row["attempt_count"], row["received_at"],
    )  # fmt: skip


async def lock_claim(connection: Connection, held: Claim) -> bool:
    """Keeps the report from everybody else until the transaction ends; False where the claim is lost."""
    return await connection.fetchval(_SQL["lock_claim"], *held) is not None


async def finish(
    connection: Connection, held: Claim, status: str, results: int, problems: Sequence[dict[str, Any]],
    run: tuple[str, str] | None = None,
) -> bool:  # fmt: skip
    """Says what became of the report of this run, (run_id, project_id); False where the claim is lost."""
    named = run or (None, None)
    return await connection.fetchval(_SQL["finish"], *held, status, results, problems, *named) is not None


async def find_orphaned(connection: Connection, files: Sequence[UploadedFile]) -> list[str]:
    """Which of these files, of all organizations, belong to no report that waits and to no run. By their paths."""
    rows = await connection.fetch(_SQL["find_orphaned"], *map(list, zip(*files, strict=True)))
    return [row["path"] for row in rows]


async def find_abandoned(connection: Connection) -> list[tuple[Claim, Upload]]:
    """Reports whose last try ended with its worker."""
    rows = await connection.fetch(_SQL["find_abandoned"], MAX_TRIES)
    return [
        (Claim(OrgId(row["org_id"]), row["receipt_id"], row["claim"]), Upload.of_document(row["upload"]))
        for row in rows
    ]
