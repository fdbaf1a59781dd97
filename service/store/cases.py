"""Cases: what results are outcomes of, across runs. They are never deleted."""

from collections.abc import Mapping
from typing import Final

from service.domain.cases import Case
from service.domain.ids import CaseKey, OrgId
from service.store.postgres.database import Connection
from service.store.postgres.statements import statements

_SQL: Final = statements("cases")

CaseRef = tuple[OrgId, CaseKey]


async def insert_unseen(connection: Connection, unseen: Mapping[CaseRef, Case]) -> dict[CaseRef, Case]:
    """Stores those that are new; returns what is stored now under each key, which differs where two cases clash."""
    addresses = list(unseen)
    org_ids, case_keys = [a[0] for a in addresses], [a[1] for a in addresses]
    columns = list(zip(*unseen.values(), strict=True))
    await connection.execute(_SQL["insert_unseen"], org_ids, case_keys, *columns)
    rows = await connection.fetch(_SQL["find"], org_ids, case_keys)
    return {(OrgId(row[0]), CaseKey(row[1])): Case(*row[2:]) for row in rows}
