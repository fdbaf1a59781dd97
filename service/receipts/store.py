"""Receipts of events, unique by organization, source, and event ID."""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Final, NamedTuple

import orjson

from service.database import pages
from service.database.database import Connection
from service.database.engines import engine_of
from service.database.pages import RowPage
from service.database.statements import Choice, Statement, compose, statements
from service.domain.ids import OrgId
from service.receipts.model import ReceiptDetails
from service.results.model import MergeCounts
from service.runs.model import RunPart

_SQL: Final = statements("receipts")
_NO_VARIANT: Final = "{}"

EventRef = tuple[OrgId, str, str]  # organization, source, event ID

_AFTER_EVERY_ID: Final = "rcp_g"  # sorts after every ID
_DRIVERS: Final = ("event_id", "run_id", "pipeline")  # filters with an index, in the order of preference


class ReceiptRow(NamedTuple):
    """A row of `receipts`, in the order of the parameters of the statement."""

    org_id: OrgId
    receipt_id: str
    source: str
    event_id: str
    body_sha256: bytes
    status: str
    run_id: str | None
    results: int
    pipeline: str | None
    part: RunPart
    problems: list[dict[str, Any]]


async def claim(connection: Connection, receipts: Sequence[ReceiptRow]) -> set[EventRef]:
    """Insert a receipt for each new event, replace the receipts of rejected events, and return both kinds of events."""
    # JSON documents are passed as text, because the driver would read a list as a dimension of the array.
    new_rows = [
        (*receipt[:-2], *part_columns(receipt.part), orjson.dumps(receipt.problems).decode()) for receipt in receipts
    ]
    rows = await connection.fetch(_SQL["claim"], *map(list, zip(*new_rows, strict=True)))
    return {(OrgId(row[0]), row[1], row[2]) for row in rows}


def part_columns(part: RunPart) -> tuple[str | None, int, str]:
    """Return the values of the columns part, shard, and variant. The variant is JSON."""
    return part.name or None, part.shard, part.variant or _NO_VARIANT


async def set_counts(connection: Connection, counts: Mapping[EventRef, MergeCounts]) -> None:
    """Set the counts of receipts that this transaction has claimed."""
    rows = [(*event, *numbers) for event, numbers in counts.items()]
    await connection.execute(_SQL["set_counts"], *map(list, zip(*rows, strict=True)))


async def find_bodies(connection: Connection, events: Iterable[EventRef]) -> dict[EventRef, bytes]:
    """Return the SHA-256 of the stored body of each event."""
    rows = await connection.fetch(_SQL["find_bodies"], *map(list, zip(*events, strict=True)))
    return {(OrgId(row[0]), row[1], row[2]): row[3] for row in rows}


async def reject(connection: Connection, event: EventRef, problems: list[dict[str, Any]]) -> None:
    """Change a receipt that this transaction has claimed to rejected."""
    await connection.execute(_SQL["reject"], *event, problems)


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
    return compose("page_of_receipts", driver=f"receipts_of_{driver}", page_bytes=pages.MAX_PAGE_BYTES, **choices)
