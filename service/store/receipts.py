"""Receipts of events, unique by organization, source, and event ID."""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Final, NamedTuple

import orjson

from service.domain.ids import OrgId
from service.domain.parts import RunPart
from service.domain.shards import MergeCounts
from service.store.postgres.database import Connection
from service.store.postgres.statements import statements

_SQL: Final = statements("receipts")
_NO_VARIANT: Final = "{}"

EventRef = tuple[OrgId, str, str]  # organization, source, event ID


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
