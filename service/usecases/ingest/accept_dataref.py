"""Acceptance of events that refer to data in the storage of the service. They are queued like reports."""

from typing import Final

from service.domain.errors import Rejected
from service.domain.ids import new_id
from service.domain.producers import Sender
from service.domain.queues import REPORTS
from service.domain.reports import StoredPart, Upload
from service.storage import Area, resolve_reference
from service.store import organizations, outbox, receipts, reports
from service.store.postgres.database import Connection
from service.store.reports import NewReport
from service.usecases.ingest.parse_events import ParsedDataref, aware

_AREAS: Final[tuple[Area, ...]] = ("artifacts", "inbox")


async def accept_dataref(connection: Connection, event: ParsedDataref, storage_url: str, sender: Sender) -> bool:
    """Queue the referenced object in the caller's transaction. Return False if the same event was accepted before.

    Raises Rejected if the path isn't readable by the service, if the sender isn't allowed, or if another event with the
    same ID was accepted before.
    """
    resolved = resolve_reference(event.dataref, storage_url, *_AREAS)
    if resolved is None:
        raise Rejected(
            "invalid", "dataref: must be artifacts/<org_id>/… or inbox/<org_id>/… in the storage of the service"
        )
    org_id, path = resolved
    slug = (await organizations.find_slugs(connection, [org_id])).get(org_id)
    if slug is None:
        raise Rejected("unknown_organization", f"dataref: organization {org_id} not found")
    if refusal := sender.find_refusal_of_data(org_id, slug):
        raise Rejected("producer_not_allowed", refusal)
    at = aware(event.at).isoformat() if event.at else None
    upload = Upload((StoredPart(path, "data", None, 0, ""),), {}, is_reference=True, event_at=at)
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
        raise Rejected("event_id_reused", f"id: {event.event_id!r} was used before by this source for another event")
    return False
