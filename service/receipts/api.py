"""Receipts of events and reports over HTTP."""

from typing import Final

from aiohttp import web

from service.contracts.queries import WaitQuery
from service.http.authentication import get_caller
from service.http.parsing import parse_query
from service.http.process import RESOURCES
from service.http.responses import reply, reply_page
from service.http.routes import Operation, Route, page_of
from service.http.waiting import requested_wait_s, wait_until_finished
from service.receipts import operations
from service.receipts.contract import Receipt, ReceiptQuery, write_receipt


async def get_receipt(request: web.Request) -> web.Response:
    """Return a receipt. With `wait`, return when the receipt is finished or the time is over."""
    wait_s, resources, caller = requested_wait_s(request), request.app[RESOURCES], get_caller(request)
    receipt = await operations.find_receipt(resources.pool, caller, request.match_info["id"])
    if wait_s and receipt.is_open:
        await wait_until_finished(request, resources.receipt_watch, receipt.receipt_id, wait_s)
        receipt = await operations.find_receipt(resources.pool, caller, receipt.receipt_id)
    return reply(write_receipt(receipt))


async def list_receipts(request: web.Request) -> web.Response:
    """List receipts, newest first."""
    query, caller = parse_query(request, ReceiptQuery), get_caller(request)
    return reply_page(await operations.list_receipts(request.app[RESOURCES].pool, caller, query), write_receipt)


ROUTES: Final = (
    Route("GET", "/receipts", list_receipts, "reports:create", Operation(
        "list_receipts", "List receipts, newest first", page_of(Receipt), ReceiptQuery,
    ), or_permission="reports:create_untrusted"),
    Route("GET", "/receipts/{id}", get_receipt, "reports:create", Operation(
        "get_receipt", "Get a receipt", {200: Receipt}, WaitQuery, errors=("not_found",),
        description="With `wait`, responds as soon as the receipt is final, or after that time with its current state.",
    ), or_permission="reports:create_untrusted"),
)  # fmt: skip
