"""Promotion of an untrusted run by a form."""

from aiohttp import web

from service.api.http.authentication import get_caller
from service.api.http.parsing import parse_pairs
from service.api.resources import RESOURCES
from service.console.changes import Unchanged, apply_change
from service.console.forms import get_form
from service.console.pages import page_url
from service.contracts.promotions import PromotionRequest
from service.usecases.administration.mutate import Transaction
from service.usecases.ingest.promote_run import Promotion
from service.usecases.ingest.promote_run import promote_run as promote


async def promote_run(request: web.Request) -> web.Response:
    """Promote the selected reports, and those whose receipts were pasted, and return to the page of the run."""
    caller, run_id = get_caller(request), request.match_info["run_id"]
    fields = get_form(request)
    receipts = [receipt for value in fields.popall("receipts", ()) for receipt in value.split()]
    fields.extend(("receipts", receipt) for receipt in dict.fromkeys(receipts))
    form = parse_pairs(fields, PromotionRequest, "field")
    stated = Promotion(**form.model_dump())
    link_base = request.app[RESOURCES].settings.link_base

    async def change(transaction: Transaction) -> str | Unchanged:
        page = page_url(request.app, "run", run_id=run_id)
        changed = await promote(transaction, caller.org_id, run_id, caller.project_id, stated, link_base)
        return page if changed else Unchanged(page)

    return await apply_change(request, caller, change)
