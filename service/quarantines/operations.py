"""Quarantines for a caller: the list, creation, change, and end, the failures that they excuse, and their expiry."""

from collections.abc import Iterable
from datetime import datetime
from typing import Any, Final, NamedTuple

import orjson

from service.cases import store as cases_store
from service.comparison.model import ComparedRow
from service.comparison.store import find_texts
from service.database.database import Connection, Pool, as_organization
from service.database.pages import ListPage, RowPage, read_page
from service.database.transactions import notifying_transaction
from service.domain.cursors import Cursors, ids
from service.domain.errors import Conflict, InvalidRequest, NotFound
from service.domain.ids import CaseKey, OrgId, case_public_id, new_id, parse_case_id
from service.domain.object_kinds import ObjectKind
from service.events import store as events_store
from service.events.model import NewEvent
from service.identity.keys.model import Caller
from service.quarantines import store
from service.quarantines.contract import Quarantine, QuarantineIn, QuarantineQuery
from service.quarantines.find_excused import ExcuseSearch
from service.quarantines.model import DEFAULT_DURATION, MAX_ACTIVE, MAX_DURATION, CaseMatcher
from service.quarantines.store import QuarantineFields, QuarantineRef, QuarantineSelection
from service.retention import store as retention_store

_QUARANTINE: Final = ObjectKind("quarantine", "qua")
_STEP: Final = 500  # quarantines per transaction


async def list_quarantines(pool: Pool, caller: Caller, query: QuarantineQuery) -> ListPage[Quarantine]:
    """Return quarantines, newest first. Raises InvalidRequest for a cursor of another list."""
    if caller.project_id is not None and query.project_id not in (None, caller.project_id):
        return ListPage((), None)
    case_key = None if query.case is None else parse_case_id(query.case)
    selection = QuarantineSelection(query.project_id or caller.project_id, case_key, query.active)

    async def read(connection: Connection, before: str | None) -> RowPage[Quarantine, str]:
        return await store.list_page(connection, caller.org_id, selection, before, query.limit)

    cursors = Cursors(ids("qua"), "quarantines", caller.org_id, selection._asdict())
    return await read_page(pool, caller, cursors, query.starting_after, read)


async def find_of_owner(pool: Pool, caller: Caller, project_id: str, owner: str) -> list[Quarantine]:
    """Return the active quarantines that name a case of an owner, the first to expire first.

    Quarantines with suites or names aren't returned, because they would be compared with every case of the owner.
    """
    query = QuarantineQuery(project_id=project_id, active=True, limit=MAX_ACTIVE)
    listed = (await list_quarantines(pool, caller, query)).items
    keys = [parse_case_id(quarantine["case"] or "") for quarantine in listed]
    async with as_organization(pool, caller.org_id) as connection:
        owned = await cases_store.find_of_owner(
            connection, caller.org_id, owner, [key for key in keys if key is not None]
        )
    found = [quarantine for key, quarantine in zip(keys, listed, strict=True) if key in owned]
    return sorted(found, key=lambda quarantine: quarantine["expires_at"])


async def find_quarantine(pool: Pool, caller: Caller, quarantine_id: str) -> Quarantine:
    """Return one quarantine. Raises NotFound."""
    ref = quarantine_ref(caller, quarantine_id)
    async with as_organization(pool, caller.org_id) as connection:
        return await read_quarantine(connection, ref)


async def read_quarantine(connection: Connection, ref: QuarantineRef) -> Quarantine:
    """Return one quarantine. Raises NotFound."""
    return _QUARANTINE.require(await store.find_one(connection, ref), ref.quarantine_id)


def quarantine_ref(caller: Caller, quarantine_id: str) -> QuarantineRef:
    """Return the reference to a quarantine that the caller can see. Raises NotFound if the ID is malformed."""
    return QuarantineRef(caller.org_id, _QUARANTINE.check_id(quarantine_id), caller.project_id)


class RequestedQuarantine(NamedTuple):
    """A quarantine to create. Without a project, the case determines it. Without an expiry, the default applies."""

    project_id: str | None
    matcher: CaseMatcher
    reason: str
    owner: str | None
    ticket_url: str | None
    expires_at: datetime | None


def read_request(caller: Caller, body: QuarantineIn) -> RequestedQuarantine:
    """Return the quarantine that a caller requests. Its project is the project of the key if the key is bound to one.

    Raises InvalidRequest for matchers that can't be combined, and Forbidden for another project than the project of the
    key.
    """
    project_id = caller.choose_project(body.project_id)
    return RequestedQuarantine(project_id, body.matcher(), body.reason, body.owner, body.ticket_url, body.expires_at)


async def create_quarantine(connection: Connection, caller: Caller, requested: RequestedQuarantine) -> Quarantine:
    """Create a quarantine, and insert the event `quarantine.created`.

    Raises InvalidRequest, NotFound if the project doesn't have the case, and Conflict if the project has `MAX_ACTIVE`.
    """
    org_id = caller.org_id
    now = await retention_store.read_clock(connection)
    expires_at = requested.expires_at or now + DEFAULT_DURATION
    _check_expiry(expires_at, now)
    project_id = await _find_project(connection, org_id, requested)
    if await store.count_for_insert(connection, org_id, project_id) >= MAX_ACTIVE:
        raise Conflict(f"project {project_id!r} has {MAX_ACTIVE} active quarantines, the maximum; end one first")
    fields = QuarantineFields(requested.reason, requested.owner, requested.ticket_url, expires_at)
    return await insert_quarantine(connection, org_id, project_id, requested.matcher, fields, caller.actor_id)


async def insert_quarantine(
    connection: Connection,
    org_id: OrgId,
    project_id: str,
    matcher: CaseMatcher,
    fields: QuarantineFields,
    created_by: str,
) -> Quarantine:
    """Insert a quarantine and the event `quarantine.created`, and return the quarantine."""
    ref = QuarantineRef(org_id, new_id("qua"), project_id)
    await store.insert(connection, ref, matcher, fields, created_by)
    quarantine = await read_quarantine(connection, ref)
    data = orjson.dumps(quarantine).decode()
    await events_store.insert(
        connection, [NewEvent(org_id, new_id("evt"), "quarantine.created", project_id, None, data)]
    )
    return quarantine


async def _find_project(connection: Connection, org_id: OrgId, requested: RequestedQuarantine) -> str:
    case_key = requested.matcher.case_key
    if case_key is None:
        if requested.project_id is None:
            raise InvalidRequest("project_id: is required without a case", "project_id")
        return requested.project_id
    project_id = await cases_store.find_project(connection, org_id, case_key, requested.project_id)
    if project_id is None:
        raise NotFound(f"case: case {case_public_id(case_key)!r} not found")
    return project_id


def _check_expiry(expires_at: datetime, now: datetime) -> None:
    if expires_at <= now:
        raise InvalidRequest("expires_at: must be in the future", "expires_at")
    if expires_at - now > MAX_DURATION:
        raise InvalidRequest(f"expires_at: must be at most {MAX_DURATION.days} days from now", "expires_at")


async def change_quarantine(connection: Connection, ref: QuarantineRef, changes: dict[str, Any]) -> Quarantine:
    """Change some fields of an active quarantine. Raises NotFound, InvalidRequest, and Conflict if it isn't active."""
    fields, is_active = await _lock(connection, ref)
    if not is_active:
        raise Conflict(f"quarantine {ref.quarantine_id} is no longer active; create a new one")
    if "expires_at" in changes:
        _check_expiry(changes["expires_at"], await retention_store.read_clock(connection))
    await store.update(connection, ref, fields._replace(**changes))
    return await read_quarantine(connection, ref)


async def end_quarantine(connection: Connection, ref: QuarantineRef) -> None:
    """End an active quarantine. One that has ended or expired stays unchanged. Raises NotFound."""
    _, is_active = await _lock(connection, ref)
    if is_active:
        await store.end(connection, ref)


async def _lock(connection: Connection, ref: QuarantineRef) -> tuple[QuarantineFields, bool]:
    return _QUARANTINE.require(await store.lock(connection, ref), ref.quarantine_id)


async def find_excuses(pool: Pool, caller: Caller, rows: Iterable[ComparedRow]) -> dict[str, Quarantine]:
    """Return the quarantines that excuse the failures of a comparison, by ID."""
    excuse_ids = {row.compared.quarantine_id for row in rows if row.compared.quarantine_id is not None}
    if not excuse_ids:
        return {}
    async with as_organization(pool, caller.org_id) as connection:
        found = [await store.find_one(connection, quarantine_ref(caller, each)) for each in excuse_ids]
    return {quarantine["id"]: quarantine for quarantine in found if quarantine is not None}


async def find_quarantine_of_case(pool: Pool, caller: Caller, project_id: str, case: CaseKey) -> Quarantine | None:
    """Return the active quarantine that excuses the failures of a case of this project in gates, or None.

    Raises Unavailable if the globs take too long.
    """
    async with as_organization(pool, caller.org_id) as connection:
        search = ExcuseSearch(await store.active_quarantines(connection, caller.org_id, project_id))
        texts = await find_texts(connection, caller.org_id, [case])
        quarantine_id = (await search.find(texts)).get(case)
        if quarantine_id is None:
            return None
        return await store.find_one(connection, QuarantineRef(caller.org_id, quarantine_id, project_id))


async def publish_expired(pool: Pool) -> int:
    """Insert the event `quarantine.expired` for each quarantine that expired, once; return their number."""
    published = 0
    while True:
        async with pool.acquire() as connection, notifying_transaction(connection):
            expired = await store.mark_expired(connection, _STEP)
            if not expired:
                return published
            await events_store.insert(
                connection,
                [
                    NewEvent(org_id, new_id("evt"), "quarantine.expired", project_id, None, data)
                    for org_id, project_id, data in expired
                ],
            )
        published += len(expired)
