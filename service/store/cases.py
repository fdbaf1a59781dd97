"""Cases. They are never deleted."""

from collections.abc import Mapping
from typing import Final

from service.domain.cases import Case
from service.domain.ids import CaseKey, OrgId
from service.store.postgres.database import Connection
from service.store.postgres.statements import statements

_SQL: Final = statements("cases")

CaseKeyRef = tuple[OrgId, CaseKey]


async def find_incarnation(connection: Connection) -> str:
    """Return a text that changes if committed cases or organizations can be missing, after a failover or restore."""
    incarnation: str = await connection.fetchval(_SQL["find_incarnation"])
    return incarnation


async def insert_unseen(connection: Connection, unseen: Mapping[CaseKeyRef, Case]) -> dict[CaseKeyRef, Case]:
    """Insert the cases that aren't stored yet, and return the stored case of each key.

    The stored case has a different identity if the keys of two cases collide.
    """
    refs = list(unseen)
    org_ids, case_keys = [ref[0] for ref in refs], [ref[1] for ref in refs]
    columns = list(zip(*unseen.values(), strict=True))
    await connection.execute(_SQL["insert_unseen"], org_ids, case_keys, *columns)
    rows = await connection.fetch(_SQL["find"], org_ids, case_keys)
    return {(OrgId(row[0]), CaseKey(row[1])): Case(*row[2:]) for row in rows}
