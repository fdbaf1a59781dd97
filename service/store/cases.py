"""Cases. They are never deleted."""

from collections.abc import Collection, Mapping
from datetime import datetime
from typing import Final, NamedTuple

from service.domain.cases import Case
from service.domain.ids import CaseKey, OrgId
from service.domain.variants import canonical_variant
from service.store.organization_deletions import preventing_deletion
from service.store.postgres.database import Connection, Row, incarnation_of
from service.store.postgres.engines import engine_of
from service.store.postgres.requested_rows import fetch_requested
from service.store.postgres.statements import statements

_SQL: Final = statements("cases")
_NO_VARIANT: Final = "{}"

CaseKeyRef = tuple[OrgId, CaseKey]


class ServerState(NamedTuple):
    """The state of the server: if `incarnation` or `files` changes, committed rows can be missing.

    A failover changes `incarnation`. A restored backup and TRUNCATE change `files`, which names the files of the tables
    of cases, organizations, and projects. `now` is the time of the server.
    """

    incarnation: str
    files: str
    now: datetime


async def find_server_state(connection: Connection) -> ServerState:
    """Return the state of the server that this connection uses."""
    [row] = await connection.fetch(_SQL["find_server_state"])
    return ServerState(incarnation_of(connection), *row)


async def insert_unseen(connection: Connection, unseen: Mapping[CaseKeyRef, Case]) -> dict[CaseKeyRef, Case]:
    """Insert the cases that aren't stored yet, change those with new texts, and return the stored case of each key.

    The stored case has a different identity if the keys of two cases collide.
    """
    refs = list(unseen)
    org_ids, case_keys = [ref[0] for ref in refs], [ref[1] for ref in refs]
    *columns, variants = zip(*unseen.values(), strict=True)
    documents = [variant or _NO_VARIANT for variant in variants]
    async with preventing_deletion(connection, set(org_ids)):
        written = await connection.fetch(_SQL["insert_unseen"], org_ids, case_keys, *columns, documents)
        await _renew_versions(connection, {row["org_id"] for row in written if row["is_changed"]})
    rows = await fetch_requested(connection, "stored_cases", refs, ["case_keys"])
    return {(OrgId(row["org_id"]), CaseKey(row["case_key"])): _case(row) for row in rows}


async def _renew_versions(connection: Connection, org_ids: Collection[OrgId]) -> None:
    """Renew the versions of the cases of organizations with changed cases, in the transaction of the changes.

    On PostgreSQL, a trigger does this. On Citus, distributed tables can't have triggers.
    """
    if org_ids and engine_of(connection).is_distributed:
        await connection.execute(_SQL["renew_versions"], org_ids)


def _case(row: Row) -> Case:
    fields = [row[name] for name in Case._fields]
    return Case(*fields)._replace(variant=canonical_variant(row["variant"]))
