"""Reads what became of incoming events and reports."""

from collections.abc import Sequence
from datetime import datetime
from typing import Any, Final, NamedTuple

from service.domain.ids import OrgId
from service.store.postgres.database import Connection
from service.store.postgres.statements import statements

_SQL: Final = statements("receipts")
_BEHIND_ALL: Final = "rcp_g"  # sorts after every id


class ReceiptDetails(NamedTuple):
    """A receipt as it is shown."""

    receipt_id: str
    status: str
    run_id: str | None
    source: str
    event_id: str
    results: int
    problems: list[dict[str, Any]]
    received_at: datetime

    @property
    def is_open(self) -> bool:
        """Whether more will become of it."""
        return self.status in ("queued", "processing")


async def find_one(
    connection: Connection, org_id: OrgId, receipt_id: str, project_id: str | None
) -> ReceiptDetails | None:
    """The receipt, where it is of this project or none is given."""
    row = await connection.fetchrow(_SQL["find_one"], org_id, receipt_id, project_id)
    return ReceiptDetails(*row) if row else None


async def find_finished(connection: Connection, org_id: OrgId, receipt_ids: Sequence[str]) -> set[str]:
    """Those of these receipts of which nothing more will become."""
    return {row["receipt_id"] for row in await connection.fetch(_SQL["find_finished"], org_id, list(receipt_ids))}


async def list_page(
    connection: Connection, org_id: OrgId, project_id: str | None, asked: tuple[str | None, str | None],
    before: str | None, limit: int,
) -> list[ReceiptDetails]:  # fmt: skip
    """Receipts older than the one with the id `before`, newest first; `asked` are a run's and an event's id."""
    rows = await connection.fetch(_SQL["page"], org_id, before or _BEHIND_ALL, *asked, project_id, limit)
    return [ReceiptDetails(*row) for row in rows]
