"""Receipts of events and reports for a caller: a page of the list, and one receipt."""

from typing import Final

from service.database.database import Connection, Pool, as_organization
from service.database.pages import ListPage, RowPage, read_page
from service.domain.cursors import Cursors, ids
from service.domain.errors import NotFound
from service.domain.ids import OrgId
from service.domain.object_kinds import ObjectKind
from service.identity.keys.model import Caller
from service.receipts import store
from service.receipts.contract import ReceiptQuery
from service.receipts.model import ReceiptDetails
from service.receipts.store import ReceiptFilter
from service.reports.untrusted_uploads import check_run_id, refused

_RECEIPT: Final = ObjectKind("receipt", "rcp")


async def list_receipts(pool: Pool, caller: Caller, query: ReceiptQuery) -> ListPage[ReceiptDetails]:
    """Return receipts, newest first. A public key gets only the receipts of an untrusted run.

    Raises InvalidRequest for a cursor of another list, and Forbidden.
    """
    if caller.is_public:
        check_run_id(caller, query.run_id or "")

    async def read(connection: Connection, before: str | None) -> RowPage[ReceiptDetails, str]:
        return await store.list_page(connection, caller.org_id, filter_, before, query.limit)

    filter_ = ReceiptFilter(query.run_id, query.pipeline, query.event_id)
    cursors = Cursors(ids("rcp"), "receipts", caller.org_id, filter_._asdict())
    filter_ = filter_._replace(project_id=caller.project_id)
    return await read_page(pool, caller, cursors, query.starting_after, read)


async def find_receipt(pool: Pool, caller: Caller, receipt_id: str) -> ReceiptDetails:
    """Return one receipt. Raises NotFound, and Forbidden for a public key if it isn't of an untrusted run."""
    try:
        _RECEIPT.check_id(receipt_id)
        async with as_organization(pool, caller.org_id) as connection:
            receipt = await read_receipt(connection, caller.org_id, receipt_id, caller.project_id)
    except NotFound:
        if caller.is_public:
            raise refused() from None
        raise
    if caller.is_public:
        check_run_id(caller, receipt.run_id or "")
    return receipt


async def read_receipt(
    connection: Connection, org_id: OrgId, receipt_id: str, project_id: str | None = None
) -> ReceiptDetails:
    """Return one receipt of the organization, or of the project. Raises NotFound."""
    return _RECEIPT.require(await store.find_one(connection, org_id, receipt_id, project_id), receipt_id)
