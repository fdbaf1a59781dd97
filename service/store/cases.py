"""Cases. Trusted cases are deleted only with their project; a process knows only trusted cases.

Each transaction that changes the texts of stored cases also increments the version of the cases of their organizations.
A process that reads the version first, and the stored cases afterwards, knows them until the version changes.

A process of version 0.9.0 doesn't increment the version. If it changes a case while other processes have the new
version, they can know the earlier texts until they are replaced or another case of the organization changes.
"""

from collections.abc import Collection, Iterable, Mapping, Sequence
from datetime import datetime
from typing import Any, Final, NamedTuple

import orjson

from service.domain.cases import Case, CasesVersion
from service.domain.ids import CaseKey, OrgId
from service.domain.producers import Registration, Registrations
from service.domain.untrusted import LIFETIME
from service.domain.variants import canonical_variant
from service.store.organization_deletions import prevent_deletion
from service.store.postgres.composition import compose
from service.store.postgres.database import Connection, Row, RowDeleted, incarnation_of
from service.store.postgres.engines import engine_of
from service.store.postgres.requested_rows import fetch_requested
from service.store.postgres.statements import statements
from service.store.postgres.transactions import limit_lock_wait, lock_wait

_SQL: Final = statements("cases")
_NO_VARIANT: Final = "{}"

CaseKeyRef = tuple[OrgId, CaseKey]


class StoredCase(NamedTuple):
    """A stored case. `trusted` is false if only untrusted and promoted runs contain it."""

    case: Case
    trusted: bool


class ServerState(NamedTuple):
    """The state of the server: if `incarnation` or `files` changes, committed rows can be missing.

    A failover changes `incarnation`. A restored backup and TRUNCATE change `files`, which names the files of the tables
    of cases, organizations, and projects. `now` is the time of the server. `versions` are those of the cases of the
    requested organizations that exist. `producers` are the registrations of the requested RabbitMQ users.
    """

    incarnation: str
    files: str
    now: datetime
    versions: Mapping[OrgId, CasesVersion]
    producers: Registrations


async def find_server_state(
    connection: Connection, org_ids: Collection[OrgId], users: Collection[str] = ()
) -> ServerState:
    """Return the state of the server that this connection uses, with what it has of organizations and producers."""
    row = await compose("server_state").fetch_row(connection, {"org_ids": list(org_ids), "users": list(users)})
    found = orjson.loads(row["versions"] or "{}")
    versions = {OrgId(int(org_id)): CasesVersion(*version) for org_id, version in found.items()}
    producers: dict[str, list[Registration]] = {}
    for user, org_id, project_id in orjson.loads(row["producers"] or "[]"):
        producers.setdefault(user, []).append(Registration(OrgId(org_id), project_id))
    return ServerState(incarnation_of(connection), row["files"], row["now"], versions, producers)


async def lock_files(connection: Connection, files: str, lock_wait_s: float) -> None:
    """Prevent the replacement of the cases until the end of the transaction, whose waits for locks are limited.

    Raises RowDeleted if TRUNCATE or a restored backup has replaced them since `files` was read. Not on Citus.
    """
    if engine_of(connection).is_distributed:
        await limit_lock_wait(connection, lock_wait_s)
        return
    current = compose("files_of_cached_tables").text
    found = await connection.execute(
        f"{lock_wait(lock_wait_s)}; LOCK TABLE cases IN ACCESS SHARE MODE; SELECT WHERE {current} = '{files}'"
    )
    if found == "SELECT 0":
        raise RowDeleted("TRUNCATE or a restored backup has replaced the tables of cases, organizations, or projects")


async def find_stored(connection: Connection, refs: Iterable[CaseKeyRef]) -> dict[CaseKeyRef, StoredCase]:
    """Return the stored case of each key. It has a different identity if the keys of two cases collide.

    A transaction on Citus becomes visible on its coordinator first, which has the versions, and then on the workers.
    The rows of its changes are locked meanwhile.
    """
    name = "committed_cases" if engine_of(connection).is_distributed else "stored_cases"
    rows = await fetch_requested(connection, name, refs, ["case_keys"])
    return {(OrgId(row["org_id"]), CaseKey(row["case_key"])): StoredCase(_case(row), row["trusted"]) for row in rows}


async def insert_unseen(connection: Connection, unseen: Mapping[CaseKeyRef, Case]) -> dict[CaseKeyRef, StoredCase]:
    """Insert the cases that aren't stored yet, change those with new texts, and return the stored case of each key.

    A hidden case becomes trusted, with the texts of the trusted run.
    """
    columns = _columns(unseen)
    async with connection.transaction():
        await prevent_deletion(connection, set(columns[0]))
        written = await connection.fetch(_SQL["insert_unseen"], *columns)
        if changed := {row["org_id"] for row in written if row["is_changed"]}:
            await connection.execute(_SQL["count_changes"], changed)
    return await find_stored(connection, unseen)


async def insert_hidden(connection: Connection, unseen: Mapping[CaseKeyRef, Case]) -> dict[CaseKeyRef, StoredCase]:
    """Insert the cases of an untrusted run that aren't stored yet, and return the stored case of each key."""
    columns = _columns(unseen)
    async with connection.transaction():
        await prevent_deletion(connection, set(columns[0]))
        await connection.execute(_SQL["insert_hidden"], *columns, LIFETIME.days + 1)
    return await find_stored(connection, unseen)


async def insert_promoted(connection: Connection, unseen: Mapping[CaseKeyRef, Case]) -> dict[CaseKeyRef, StoredCase]:
    """Insert the cases of a promoted run, or replace those that no trusted run contains.

    Return the stored case of each key.
    """
    columns = _columns(unseen)
    async with connection.transaction():
        await prevent_deletion(connection, set(columns[0]))
        await connection.execute(_SQL["insert_promoted"], *columns)
    return await find_stored(connection, unseen)


async def find_of_default_branch(
    connection: Connection, org_id: OrgId, project_id: str, branch: str, case_keys: Sequence[CaseKey]
) -> set[CaseKey]:
    """Return the cases that the newest runs of the default branch of a project contain, if it's another branch."""
    rows = await connection.fetch(_SQL["find_of_default_branch"], org_id, project_id, branch, case_keys)
    return {CaseKey(row["case_key"]) for row in rows}


def _columns(cases: Mapping[CaseKeyRef, Case]) -> Sequence[Sequence[Any]]:
    """Return the columns of the cases: organizations, keys, and the fields of Case."""
    *columns, variants = zip(*cases.values(), strict=True)
    documents = [variant or _NO_VARIANT for variant in variants]
    return [ref[0] for ref in cases], [ref[1] for ref in cases], *columns, documents


def _case(row: Row) -> Case:
    fields = [row[name] for name in Case._fields]
    return Case(*fields)._replace(variant=canonical_variant(row["variant"]))
