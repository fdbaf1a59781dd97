"""Quarantines: insertion, change, end, expiry, and the active ones of a project."""

from collections.abc import Sequence
from datetime import datetime
from typing import Final, NamedTuple

import orjson

from service.comparison.store import find_texts
from service.database.database import Connection
from service.database.pages import RowPage, find_object, page_by_id
from service.database.statements import compose, statements
from service.domain.ids import CaseKey, OrgId, case_public_id, parse_case_id
from service.quarantines.contract import Quarantine
from service.quarantines.model import ActiveQuarantine, ActiveQuarantines, CaseMatcher, PolicyQuarantine

_SQL: Final = statements("quarantines")


class QuarantineRef(NamedTuple):
    """A quarantine, and the project that it must belong to if the caller's key is bound to a project."""

    org_id: OrgId
    quarantine_id: str
    project_id: str | None


class QuarantineFields(NamedTuple):
    """The fields that can change, in the order of the columns."""

    reason: str
    owner: str | None
    ticket_url: str | None
    expires_at: datetime


class QuarantineSelection(NamedTuple):
    """The filters of the list of quarantines."""

    project_id: str | None
    case_key: CaseKey | None
    active: bool | None


class ExpiredQuarantine(NamedTuple):
    """A quarantine whose expiry must be published now. `data` is its JSON."""

    org_id: OrgId
    project_id: str
    data: str


async def count_for_insert(connection: Connection, org_id: OrgId, project_id: str) -> int:
    """Return the number of active quarantines of a project. No other transaction inserts one before this one ends."""
    await connection.execute(_SQL["lock_list"], org_id)
    count: int = await connection.fetchval(_SQL["count_active"], org_id, project_id)
    return count


async def insert(
    connection: Connection, ref: QuarantineRef, matcher: CaseMatcher, fields: QuarantineFields, created_by: str
) -> None:
    """Insert a quarantine of the project of the reference."""
    await connection.execute(_SQL["insert"], *ref, *matcher, *fields, created_by)


async def find_one(connection: Connection, ref: QuarantineRef) -> Quarantine | None:
    """Return one quarantine, or None if it doesn't exist."""
    found: Quarantine | None = await find_object(connection, "one_quarantine", ref._asdict())
    if found:
        await _name_cases(connection, ref.org_id, [found])
    return found


async def list_page(
    connection: Connection, org_id: OrgId, selection: QuarantineSelection, before: str | None, limit: int
) -> RowPage[Quarantine, str]:
    """Return a page of quarantines, newest first, after the quarantine with the ID `before`."""
    values = {"org_id": org_id, **selection._asdict()}
    page: RowPage[Quarantine, str] = await page_by_id(connection, "listed_quarantines", "qua", before, limit, values)
    await _name_cases(connection, org_id, page.rows)
    return page


async def _name_cases(connection: Connection, org_id: OrgId, listed: Sequence[Quarantine]) -> None:
    """Add the texts of the cases. On Citus, no statement reads both tables."""
    keys = [key for quarantine in listed if (key := parse_case_id(quarantine["case"] or "")) is not None]
    found = {case_public_id(case.case_key): case for case in await find_texts(connection, org_id, keys)} if keys else {}
    for quarantine in listed:
        if case := found.get(quarantine["case"] or ""):
            quarantine["named_case"] = {"suite": case.suite, "name": case.name, "variant": dict(case.variant)}


async def lock(connection: Connection, ref: QuarantineRef) -> tuple[QuarantineFields, bool] | None:
    """Return the fields of a quarantine and whether it is active, and lock its row until the transaction ends."""
    row = await connection.fetchrow(_SQL["lock"], *ref)
    if row is None:
        return None
    *fields, is_active = row
    return QuarantineFields(*fields), is_active


async def update(connection: Connection, ref: QuarantineRef, fields: QuarantineFields) -> None:
    """Replace the fields of a locked quarantine."""
    await connection.execute(_SQL["update"], ref.org_id, ref.quarantine_id, *fields)


async def end(connection: Connection, ref: QuarantineRef) -> None:
    """End a locked quarantine now."""
    await connection.execute(_SQL["set_ended"], ref.org_id, ref.quarantine_id)


async def mark_expired(connection: Connection, limit: int) -> list[ExpiredQuarantine]:
    """Return at most `limit` expired quarantines of all organizations, each of them only once.

    Requires the role results_worker.
    """
    expired: list[ExpiredQuarantine] = []
    for org_id, project_id, data in await compose("mark_expired").fetch_rows(connection, {"limit": limit}):
        quarantine: Quarantine = orjson.loads(data)
        await _name_cases(connection, org_id, [quarantine])
        expired.append(ExpiredQuarantine(org_id, project_id, orjson.dumps(quarantine).decode()))
    return expired


async def active_quarantines(connection: Connection, org_id: OrgId, project_id: str) -> ActiveQuarantines:
    """Return the quarantines of a project that are active when the transaction starts."""
    rows = await connection.fetch(_SQL["find_active"], org_id, project_id)
    return ActiveQuarantines(ActiveQuarantine(row["quarantine_id"], CaseMatcher(*list(row)[1:])) for row in rows)


class CaseQuarantines(NamedTuple):
    """The active quarantines of the policy, and the other cases that have their own quarantine."""

    of_policy: list[PolicyQuarantine]
    excluded: set[CaseKey]


async def find_of_cases(connection: Connection, org_id: OrgId, project_id: str) -> CaseQuarantines:
    """Return the quarantines of single cases. One that a person ended while the case was flaky counts until expiry."""
    rows = await connection.fetch(_SQL["find_of_cases"], org_id, project_id)
    of_policy = [PolicyQuarantine(*list(row)[:4]) for row in rows if row["is_of_policy"]]
    return CaseQuarantines(of_policy, {row["case_key"] for row in rows if not row["is_of_policy"]})


async def change_of_policy(connection: Connection, org_id: OrgId, changed: Sequence[PolicyQuarantine]) -> None:
    """Store what the policy changes, except for quarantines that were ended meanwhile."""
    columns = [
        (quarantine.quarantine_id, quarantine.expires_at, quarantine.not_flaky_since, quarantine.is_ended)
        for quarantine in changed
    ]
    if columns:
        await connection.execute(_SQL["change_of_policy"], org_id, *map(list, zip(*columns, strict=True)))


async def expire_of_policy(connection: Connection, org_id: OrgId, project_id: str) -> None:
    """Let the active quarantines of the policy expire now."""
    await connection.execute(_SQL["expire_of_policy"], org_id, project_id)
