"""Receipts over HTTP: what became of what came in."""

from typing import Any

from aiohttp import web

from service.api.callers import caller
from service.api.parsing import parse_query
from service.api.replies import reply
from service.api.resources import RESOURCES
from service.api.waits import wanted_wait_s
from service.contracts.events import rfc3339
from service.contracts.reports import ReceiptQuery
from service.domain.cursors import read_cursor, write_cursor
from service.domain.errors import InvalidRequest, NotFound
from service.domain.ids import is_id
from service.store import read_receipts
from service.store.database import as_organization
from service.store.read_receipts import ReadReceipt


async def get_receipt(request: web.Request) -> web.Response:
    """One receipt; with `wait`, once nothing more will become of it or the time is over."""
    wait_s = wanted_wait_s(request)
    receipt = await _find(request)
    if wait_s and receipt.is_open:
        await request.app[RESOURCES].receipt_watch.wait(caller(request).org_id, receipt.receipt_id, wait_s)
        receipt = await _find(request)
    return reply(receipt_object(receipt))


async def list_receipts(request: web.Request) -> web.Response:
    """Receipts, newest first."""
    query, who = parse_query(request, ReceiptQuery), caller(request)
    asked = query.run_id, query.event_id
    of_list = ("receipts", who.org_id, asked)
    before = _read_cursor(query.starting_after, of_list)
    async with as_organization(request.app[RESOURCES].pool, who.org_id) as connection:
        found = await read_receipts.list_page(connection, who.org_id, who.project_id, asked, before, query.limit + 1)
    page, has_more = found[: query.limit], len(found) > query.limit
    cursor = write_cursor(page[-1].receipt_id.encode(), *of_list) if has_more else None
    return reply({"data": list(map(receipt_object, page)), "has_more": has_more, "next_cursor": cursor})


def receipt_object(receipt: ReadReceipt) -> dict[str, Any]:
    """A receipt as clients see it."""
    return {
        "id": receipt.receipt_id,
        "status": receipt.status,
        "run_id": receipt.run_id,
        "source": receipt.source,
        "event_id": receipt.event_id,
        "results": receipt.results,
        "problems": receipt.problems,
        "received_at": rfc3339(receipt.received_at),
    }


async def _find(request: web.Request) -> ReadReceipt:
    who, receipt_id = caller(request), request.match_info["id"]
    receipt = None
    if is_id("rcp", receipt_id):
        async with as_organization(request.app[RESOURCES].pool, who.org_id) as connection:
            receipt = await read_receipts.find_one(connection, who.org_id, receipt_id, who.project_id)
    if receipt is None:
        raise NotFound(f"there is no receipt {receipt_id[:100]!r}")
    return receipt


def _read_cursor(cursor: str | None, of_list: tuple[object, ...]) -> str | None:
    if cursor is None:
        return None
    place = read_cursor(cursor, *of_list)
    if place is None:
        raise InvalidRequest("starting_after: not a cursor of this list with these filters", "starting_after")
    return place.decode()
