"""Receipts of events and reports over HTTP."""

from typing import Any, Final

from aiohttp import web

from service.api.http.authentication import get_caller
from service.api.http.long_polling import requested_wait_s, wait_until_finished
from service.api.http.parsing import parse_query
from service.api.http.responses import reply, reply_list
from service.api.server.resources import RESOURCES
from service.contracts.reports import ReceiptQuery
from service.domain.cursors import Cursors, ids
from service.domain.errors import NotFound
from service.domain.ids import is_id
from service.domain.timestamps import format_time
from service.store.postgres.database import as_organization
from service.store.queries import receipts as read_receipts
from service.store.queries.receipts import ReceiptDetails

_CODEC: Final = ids("rcp")


async def get_receipt(request: web.Request) -> web.Response:
    """Return a receipt. With `wait`, return when the receipt is finished or the time is over."""
    wait_s = requested_wait_s(request)
    receipt = await _find(request)
    if wait_s and receipt.is_open:
        await wait_until_finished(request, request.app[RESOURCES].receipt_watch, receipt.receipt_id, wait_s)
        receipt = await _find(request)
    return reply(receipt_object(receipt))


async def list_receipts(request: web.Request) -> web.Response:
    """List receipts, newest first."""
    query, caller = parse_query(request, ReceiptQuery), get_caller(request)
    filters = {"run_id": query.run_id, "event_id": query.event_id}
    cursors = Cursors(_CODEC, "receipts", caller.org_id, filters)
    before = cursors.read(query.starting_after)
    async with as_organization(request.app[RESOURCES].pool, caller.org_id) as connection:
        page = await read_receipts.list_page(
            connection, caller.org_id, caller.project_id, (query.run_id, query.event_id), before, query.limit
        )
    return reply_list(list(map(receipt_object, page.receipts)), cursors.write(page.next))


def receipt_object(receipt: ReceiptDetails) -> dict[str, Any]:
    """Return a receipt as the API shows it."""
    return {
        "id": receipt.receipt_id,
        "status": receipt.status,
        "run_id": receipt.run_id,
        "part": receipt.part,
        "shard": receipt.shard,
        "variant": receipt.variant,
        "source": receipt.source,
        "event_id": receipt.event_id,
        "results": receipt.results,
        "replaced": receipt.replaced,
        "replaced_failing": receipt.replaced_failing,
        "combined": receipt.combined,
        "problems": receipt.problems,
        "received_at": format_time(receipt.received_at),
    }


async def _find(request: web.Request) -> ReceiptDetails:
    caller, receipt_id = get_caller(request), request.match_info["id"]
    receipt = None
    if is_id("rcp", receipt_id):
        async with as_organization(request.app[RESOURCES].pool, caller.org_id) as connection:
            receipt = await read_receipts.find_one(connection, caller.org_id, receipt_id, caller.project_id)
    if receipt is None:
        raise NotFound(f"receipt {receipt_id[:100]!r} not found")
    return receipt
