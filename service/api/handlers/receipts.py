"""Receipts of events and reports over HTTP."""

from aiohttp import web

from service.api.http.authentication import get_caller
from service.api.http.long_polling import requested_wait_s, wait_until_finished
from service.api.http.parsing import parse_query
from service.api.http.responses import reply, reply_page
from service.api.resources import RESOURCES
from service.contracts.receipts import write_receipt
from service.contracts.reports import ReceiptQuery
from service.usecases.lists import list_receipts as usecase


async def get_receipt(request: web.Request) -> web.Response:
    """Return a receipt. With `wait`, return when the receipt is finished or the time is over."""
    wait_s, resources, caller = requested_wait_s(request), request.app[RESOURCES], get_caller(request)
    receipt = await usecase.find_receipt(resources.pool, caller, request.match_info["id"])
    if wait_s and receipt.is_open:
        await wait_until_finished(request, resources.receipt_watch, receipt.receipt_id, wait_s)
        receipt = await usecase.find_receipt(resources.pool, caller, receipt.receipt_id)
    return reply(write_receipt(receipt))


async def list_receipts(request: web.Request) -> web.Response:
    """List receipts, newest first."""
    query, caller = parse_query(request, ReceiptQuery), get_caller(request)
    return reply_page(await usecase.list_receipts(request.app[RESOURCES].pool, caller, query), write_receipt)
