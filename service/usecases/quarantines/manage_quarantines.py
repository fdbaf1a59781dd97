"""Creation, change, and end of quarantines, in the caller's notifying transaction."""

from datetime import datetime
from typing import Any, NamedTuple

import orjson

from service.contracts.quarantines import QuarantineIn
from service.contracts.responses import Quarantine
from service.domain.errors import Conflict, Forbidden, InvalidRequest, NotFound
from service.domain.events import NewEvent
from service.domain.ids import OrgId, case_public_id, is_id, new_id
from service.domain.keys import Caller
from service.domain.quarantines import DEFAULT_DURATION, MAX_ACTIVE, MAX_DURATION, CaseMatcher
from service.store import events, quarantines, upkeep
from service.store.postgres.database import Connection
from service.store.quarantines import QuarantineFields, QuarantineRef
from service.store.queries import cases


class RequestedQuarantine(NamedTuple):
    """A quarantine to create. Without a project, it is that of the case. Without an expiry, the default applies."""

    project_id: str | None
    matcher: CaseMatcher
    reason: str
    owner: str | None
    ticket_url: str | None
    expires_at: datetime | None


def read_request(caller: Caller, body: QuarantineIn) -> RequestedQuarantine:
    """Return the quarantine that a caller requests. Its project is that of the key if the key is bound to one.

    Raises InvalidRequest for matchers that can't be combined, and Forbidden for another project than that of the key.
    """
    if caller.project_id is not None and body.project_id not in (None, caller.project_id):
        raise Forbidden(f"project_id: this {caller.noun} is bound to the project {caller.project_id!r}")
    project_id = caller.project_id or body.project_id
    return RequestedQuarantine(project_id, body.matcher(), body.reason, body.owner, body.ticket_url, body.expires_at)


def quarantine_ref(caller: Caller, quarantine_id: str) -> QuarantineRef:
    """Return the reference to a quarantine that the caller can see. Raises NotFound if the ID is malformed."""
    if not is_id("qua", quarantine_id):
        raise _quarantine_not_found(quarantine_id)
    return QuarantineRef(caller.org_id, quarantine_id, caller.project_id)


async def create_quarantine(connection: Connection, caller: Caller, requested: RequestedQuarantine) -> Quarantine:
    """Create a quarantine, and insert the event `quarantine.created`.

    Raises InvalidRequest, NotFound if the project doesn't have the case, and Conflict if the project has `MAX_ACTIVE`.
    """
    org_id = caller.org_id
    now = await upkeep.read_clock(connection)
    expires_at = requested.expires_at or now + DEFAULT_DURATION
    _check_expiry(expires_at, now)
    project_id = await _find_project(connection, org_id, requested)
    if await quarantines.count_for_insert(connection, org_id, project_id) >= MAX_ACTIVE:
        raise Conflict(f"project {project_id!r} has {MAX_ACTIVE} active quarantines, the maximum; end one first")
    ref = QuarantineRef(org_id, new_id("qua"), project_id)
    fields = QuarantineFields(requested.reason, requested.owner, requested.ticket_url, expires_at)
    await quarantines.insert(connection, ref, requested.matcher, fields, caller.actor_id)
    quarantine = await read_quarantine(connection, ref)
    data = orjson.dumps(quarantine).decode()
    await events.insert(connection, [NewEvent(org_id, new_id("evt"), "quarantine.created", project_id, None, data)])
    return quarantine


async def change_quarantine(connection: Connection, ref: QuarantineRef, changes: dict[str, Any]) -> Quarantine:
    """Change some fields of an active quarantine. Raises NotFound, InvalidRequest, and Conflict if it isn't active."""
    fields, is_active = await _lock(connection, ref)
    if not is_active:
        raise Conflict(f"quarantine {ref.quarantine_id} is no longer active; create a new one")
    if "expires_at" in changes:
        _check_expiry(changes["expires_at"], await upkeep.read_clock(connection))
    await quarantines.update(connection, ref, fields._replace(**changes))
    return await read_quarantine(connection, ref)


async def end_quarantine(connection: Connection, ref: QuarantineRef) -> None:
    """End an active quarantine. One that has ended or expired stays unchanged. Raises NotFound."""
    _, is_active = await _lock(connection, ref)
    if is_active:
        await quarantines.end(connection, ref)


async def read_quarantine(connection: Connection, ref: QuarantineRef) -> Quarantine:
    """Return one quarantine. Raises NotFound."""
    found = await quarantines.find_one(connection, ref)
    if found is None:
        raise _quarantine_not_found(ref.quarantine_id)
    return found


def _quarantine_not_found(quarantine_id: str) -> NotFound:
    """Return the same error for an ID that is malformed, unknown, or of another organization or project."""
    return NotFound(f"quarantine {quarantine_id[:100]!r} not found")


async def _find_project(connection: Connection, org_id: OrgId, requested: RequestedQuarantine) -> str:
    case_key = requested.matcher.case_key
    if case_key is None:
        if requested.project_id is None:
            raise InvalidRequest("project_id: is required without a case", "project_id")
        return requested.project_id
    project_id = await cases.find_project(connection, org_id, case_key, requested.project_id)
    if project_id is None:
        raise NotFound(f"case: case {case_public_id(case_key)!r} not found")
    return project_id


async def _lock(connection: Connection, ref: QuarantineRef) -> tuple[QuarantineFields, bool]:
    locked = await quarantines.lock(connection, ref)
    if locked is None:
        raise _quarantine_not_found(ref.quarantine_id)
    return locked


def _check_expiry(expires_at: datetime, now: datetime) -> None:
    if expires_at <= now:
        raise InvalidRequest("expires_at: must be in the future", "expires_at")
    if expires_at - now > MAX_DURATION:
        raise InvalidRequest(f"expires_at: must be at most {MAX_DURATION.days} days from now", "expires_at")
