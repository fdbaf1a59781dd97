"""Events whose data lies in our own storage: each is queued as a report is, and read where there is time for it."""

from typing import Final

from service.domain.errors import Rejected
from service.domain.ids import new_id
from service.domain.queues import REPORTS
from service.domain.reports import StoredPart, Upload
from service.storage import Area, resolve_reference
from service.store import organizations, outbox, receipts, reports
from service.store.postgres.database import Connection
from service.store.reports import NewReport
from service.usecases.ingest.parse_events import ParsedDataref, aware

_AREAS: Final[tuple[Area, ...]] = ("artifacts", "inbox")


async def accept_dataref(connection: Connection, event: ParsedDataref, storage_url: str) -> bool:
    """Queues what the event refers to, in the caller's transaction; False where the same event came before.

    Raises Rejected for a place that is not ours to read, and for another event under a known id.
    """
    place = resolve_reference(event.dataref, storage_url, *_AREAS)
    if place is None:
        raise Rejected("invalid", "dataref: only artifacts/<org_id>/… and inbox/<org_id>/… of our storage are read")
    org_id, path = place
    if not await organizations.exists(connection, org_id):
        raise Rejected("unknown_organization", f"dataref: there is no organization {org_id}")
    at = aware(event.at).isoformat() if event.at else None
    upload = Upload(StoredPart(path, "data", None, 0, ""), {}, is_reference=True, event_at=at)
    report = NewReport(
        org_id, new_id("rcp"), event.source, event.event_id, event.body_sha256, None, None, upload
    )  # fmt: skip
    accepted = await reports.queue(connection, report)
    if accepted is not None:
        await outbox.put(connection, REPORTS, {"org_id": org_id, "receipt_id": accepted})
        return True
    address = org_id, event.source, event.event_id
    known = await receipts.find_bodies(connection, [address])
    if known[address] != event.body_sha256:
        raise Rejected("event_id_reused", f"id: {event.event_id!r} has come before from this source, with another body")
    return False
