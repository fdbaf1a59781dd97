"""Receipts: what became of each incoming event; unique by (organization, source, event id)."""

from collections.abc import Iterable, Sequence
from typing import Any, Final, NamedTuple

import orjson

from service.domain.ids import OrgId
from service.store.postgres.database import Connection
from service.store.postgres.statements import statements

_SQL: Final = statements("receipts")

EventRef = tuple[OrgId, str, str]  # organization, source, event id


class Receipt(NamedTuple):
    """One row, in the order of the statement's parameters."""

    org_id: OrgId
    receipt_id: str
    source: str
    event_id: str
    body_sha256: bytes
    status: str
    run_id: str | None
    results: int
    problems: list[dict[str, Any]]


async def claim(connection: Connection, receipts: Sequence[Receipt]) -> set[EventRef]:
    """Writes a receipt for each event that is new, or was rejected before; returns those events' addresses."""
    # An array of JSON documents goes as text: the driver would take a document that is a list for a dimension.
    rows_in = [(*receipt[:-1], orjson.dumps(receipt.problems).decode()) for receipt in receipts]
    rows = await connection.fetch(_SQL["claim"], *map(list, zip(*rows_in, strict=True)))
    return {(OrgId(row[0]), row[1], row[2]) for row in rows}


async def find_bodies(connection: Connection, events: Iterable[EventRef]) -> dict[EventRef, bytes]:
    """The body's SHA-256 under which each of these events was stored."""
    rows = await connection.fetch(_SQL["find_bodies"], *map(list, zip(*events, strict=True)))
    return {(OrgId(row[0]), row[1], row[2]): row[3] for row in rows}


async def reject(connection: Connection, event: EventRef, problems: list[dict[str, Any]]) -> None:
    """Ends a receipt that this transaction has claimed as rejected after all."""
    await connection.execute(_SQL["reject"], *event, problems)
