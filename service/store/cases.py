"""Cases. They are never deleted."""

from collections.abc import Mapping
from datetime import datetime
from typing import Final, NamedTuple

from service.domain.cases import Case
from service.domain.ids import CaseKey, OrgId
from service.store.postgres.database import Connection
from service.store.postgres.statements import statements

_SQL: Final = statements("cases")

CaseKeyRef = tuple[OrgId, CaseKey]


class ServerState(NamedTuple):
    """The state of the server: `incarnation` changes if committed cases or organizations can be missing.

    This is the case after a failover or restore. `now` is the time of the server.
    """

    incarnation: str
    now: datetime


async def find_server_state(connection: Connection) -> ServerState:
    """Return the state of the server that this connection uses."""
    [row] = await connection.fetch(_SQL["find_server_state"])
    return ServerState(*row)


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
