"""Artifacts of results and runs: references to external files, and files in the storage of the service."""

from collections.abc import Collection, Iterable, Sequence
from typing import Final, NamedTuple

from service.domain.ids import CaseKey, OrgId, RunKey
from service.domain.results import ArtifactReference
from service.store import file_deletions
from service.store.partitions import key_range
from service.store.postgres.database import Connection
from service.store.postgres.statements import statements
from service.store.runs import RunKeyRef

_SQL: Final = statements("artifacts")

ArtifactRowKey = tuple[RunKey, CaseKey, int]


class StoredArtifact(NamedTuple):
    """A file in the storage of the service. The fields are in the order of the statement's parameters."""

    org_id: OrgId
    run_key: RunKey
    case_key: CaseKey
    artifact_key: int
    kind: str
    name: str
    content_type: str | None
    size: int  # bytes
    sha256: bytes
    path: str
    byte_offset: int | None = None  # of a part of the file
    receipt_id: str | None = None  # of the report that names the file


class Reference(NamedTuple):
    """A reference of a result to a file that wasn't uploaded."""

    case_key: CaseKey
    artifact_key: int
    kind: str
    name: str
    content_type: str | None
    uri: str
    receipt_id: str | None


class LockedFile(NamedTuple):
    """The stored file of an artifact."""

    path: str
    sha256: bytes | None
    content_type: str | None


class RunFile(NamedTuple):
    """A file in the folder of a run."""

    org_id: OrgId
    run_key: RunKey
    path: str


class ArtifactFile(NamedTuple):
    """The file of one artifact. `path` is None for a reference to an external file.

    If `byte_offset` isn't None, the artifact is a part of the file, and `size` is the size of the part.
    """

    name: str
    content_type: str | None
    size: int | None
    sha256: bytes | None
    path: str | None
    byte_offset: int | None


async def insert_stored(connection: Connection, *artifacts: StoredArtifact) -> None:
    """Insert artifacts, and replace artifacts of the same names."""
    await connection.executemany(_SQL["insert_stored"], artifacts)


async def insert_references(connection: Connection, run: RunKeyRef, references: Iterable[ArtifactReference]) -> None:
    """Insert references of a report to files that belong to the run itself."""
    if rows := [
        (*run, each.key, each.kind, each.name, each.content_type, each.uri, each.receipt_id) for each in references
    ]:
        await connection.executemany(_SQL["insert_references"], rows)


async def find_references(
    connection: Connection, run: RunKeyRef, cases: Collection[CaseKey], receipt_id: str
) -> list[Reference]:
    """Return the references of a report, in the results of these cases, to files that weren't uploaded."""
    return [Reference(*row) for row in await connection.fetch(_SQL["find_references"], *run, cases, receipt_id)]


async def find_keys(
    connection: Connection, org_id: OrgId, run_key: RunKey, case_key: CaseKey, name: str, own_key: int
) -> set[int]:
    """Return the keys of the files with this name that reports of a result, or of a run (RUN_ITSELF), name.

    They include `own_key` if a file has it.
    """
    rows = await connection.fetch(_SQL["find_keys"], org_id, run_key, case_key, name, own_key)
    return {row["artifact_key"] for row in rows}


async def lock_file(connection: Connection, org_id: OrgId, row_key: ArtifactRowKey) -> LockedFile | None:
    """Return the stored file of an artifact. None if no file is stored.

    Locks the key until the transaction ends, so that each file that a concurrent transaction stores is found.
    """
    await connection.execute(_SQL["lock_key"], org_id, *row_key)
    row = await connection.fetchrow(_SQL["lock_file"], org_id, *row_key)
    return LockedFile(*row) if row else None


async def delete_unused(connection: Connection, run: RunKeyRef, paths: Collection[str]) -> None:
    """Queue the deletion of those of the files that no artifact of the run refers to any longer.

    The uploaded files of an untrusted run stay: a stranger who replaces its artifacts would delete the files of a fork.
    """
    if paths:
        rows = await connection.fetch(_SQL["find_unused"], *run, paths)
        await file_deletions.queue(connection, run.org_id, [row["path"] for row in rows])


async def find_orphaned(connection: Connection, files: Sequence[RunFile]) -> list[str]:
    """Return the paths of the files that no artifact of their run refers to, of all organizations.

    Omits the files of runs whose results have expired, and of months without a partition: an operator can have archived
    the artifacts that refer to them.
    """
    months = [key_range(row["month"]) for row in await connection.fetch(_SQL["list_months"])]
    listed = [file for file in files if any(first <= file.run_key < end for first, end in months)]
    orphaned: list[str] = []
    for org_id in {file.org_id for file in listed}:
        own = [file for file in listed if file.org_id == org_id]
        keys = list({file.run_key for file in own})
        expired = {row["run_key"] for row in await connection.fetch(_SQL["find_expired_runs"], org_id, keys)}
        stored = await connection.fetch(_SQL["find_stored"], org_id, keys, [file.path for file in own])
        used = {row["path"] for row in stored}
        orphaned += [file.path for file in own if file.run_key not in expired and file.path not in used]
    return orphaned


async def find_one(
    connection: Connection, org_id: OrgId, row_key: ArtifactRowKey, project_id: str | None
) -> ArtifactFile | None:
    """Return one artifact. If `project_id` isn't None, return only an artifact of this project."""
    row = await connection.fetchrow(_SQL["find_one"], org_id, *row_key, project_id)
    return ArtifactFile(*row) if row else None
