"""Quarantines: insertion, change, end, and the active ones of a project."""

from typing import Final

from service.domain.ids import CaseKey, OrgId
from service.domain.quarantines import ActiveQuarantine, ActiveQuarantines, CaseMatcher
from service.store.postgres.database import Connection
from service.store.postgres.statements import statements

_SQL: Final = statements("quarantines")


async def active_quarantines(connection: Connection, org_id: OrgId, project_id: str) -> ActiveQuarantines:
    """Return the quarantines of a project that are active when the transaction starts."""
    rows = await connection.fetch(_SQL["find_active"], org_id, project_id)
    return ActiveQuarantines(
        ActiveQuarantine(
            row["quarantine_id"],
            CaseMatcher(_case_key(row["case_key"]), row["suite"], row["name"], row["variant"]),
        )
        for row in rows
    )


def _case_key(stored: int | None) -> CaseKey | None:
    return None if stored is None else CaseKey(stored)
