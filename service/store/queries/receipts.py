"""Queries for the receipts of incoming events and reports."""

from collections.abc import Sequence
from typing import Final, NamedTuple

from service.domain.ids import OrgId
from service.domain.rows import ReceiptDetails
from service.store.postgres import composition
from service.store.postgres.composition import Choice, Statement, compose
from service.store.postgres.database import Connection
from service.store.postgres.engines import engine_of
from service.store.postgres.statements import statements
from service.store.queries.pages import RowPage

_SQL: Final = statements("receipts")
_AFTER_EVERY_ID: Final = "rcp_g"  # sorts after every ID
_DRIVERS: Final = ("event_id", "run_id", "pipeline")  # filters with an index, in the order of preference


class ReceiptFilter(NamedTuple):
    """The filters of the list of receipts."""

    run_id: str | None = None
    pipeline: str | None = None
    event_id: str | None = None
    project_id: str | None = None


async def find_one(
    connection: Connection, org_id: OrgId, receipt_id: str, project_id: str | None
) -> ReceiptDetails | None:
    """Return the receipt, or None if the organization, or the given project, doesn't have it."""
    row = await connection.fetchrow(_SQL["find_one"], org_id, receipt_id, project_id)
    return ReceiptDetails(*row) if row else None


async def find_finished(connection: Connection, receipts: Sequence[tuple[OrgId, str]]) -> set[tuple[OrgId, str]]:
    """Return the receipts, each with its organization and its ID, that are finished or don't exist."""
    rows = await connection.fetch(_SQL["find_finished"], *map(list, zip(*receipts, strict=True)))
    return {(OrgId(row["org_id"]), row["receipt_id"]) for row in rows}


async def list_page(
    connection: Connection, org_id: OrgId, filter_: ReceiptFilter, before: str | None, limit: int
) -> RowPage[ReceiptDetails, str]:
    """Return receipts that are older than the one with the ID `before`, newest first."""
    values = {"org_id": org_id, **filter_._asdict(), "before": before or _AFTER_EVERY_ID, "page": limit}
    rows = await page_statement(filter_, **engine_of(connection).run_of_receipt).fetch_rows(connection, values)
    page = [ReceiptDetails(*tuple(row)[:-1]) for row in rows if row["fits"]]
    return RowPage(page, page[-1].receipt_id if len(page) < len(rows) else None)


def page_statement(filter_: ReceiptFilter, **choices: Choice) -> Statement:
    """Return the statement for a filter. It uses the index that yields the fewest candidates."""
    driver = next((name.removesuffix("_id") for name in _DRIVERS if getattr(filter_, name) is not None), "all")
    return compose("page_of_receipts", driver=f"receipts_of_{driver}", page_bytes=composition.MAX_PAGE_BYTES, **choices)
