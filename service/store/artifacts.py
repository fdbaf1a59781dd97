"""Files of results and runs: references to others' files, and files that our own storage keeps."""

from typing import Final, NamedTuple

from service.domain.ids import CaseKey, OrgId, RunKey
from service.store.postgres.database import Connection
from service.store.postgres.statements import statements

_SQL: Final = statements("artifacts")

ArtifactRowKey = tuple[RunKey, CaseKey, int]


class StoredArtifact(NamedTuple):
    """A file that our storage keeps, in the order of the statement's parameters."""

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


class Reference(NamedTuple):
    """A file that a report names for one of its results."""

    case_key: CaseKey
    artifact_key: int
    kind: str
    name: str
    content_type: str | None
    uri: str


class ArtifactFile(NamedTuple):
    """What is known of one artifact; `path` is None for a reference to somebody else's file."""

    name: str
    content_type: str | None
    size: int | None
    sha256: bytes | None
    path: str | None


async def insert_stored(connection: Connection, artifact: StoredArtifact) -> None:
    """Lists a file that is in storage, in place of what had its name."""
    await connection.execute(_SQL["insert_stored"], *artifact)


async def find_references(connection: Connection, org_id: OrgId, run_key: RunKey) -> list[Reference]:
    """The files that results of this run name and that nobody has uploaded."""
    return [Reference(*row) for row in await connection.fetch(_SQL["find_references"], org_id, run_key)]


async def find_path(connection: Connection, org_id: OrgId, address: ArtifactRowKey) -> str | None:
    """Where storage keeps the file that is listed there now, if it does; locked until the transaction ends."""
    path: str | None = await connection.fetchval(_SQL["find_path"], org_id, *address)
    return path


async def find_one(
    connection: Connection, org_id: OrgId, address: ArtifactRowKey, project_id: str | None
) -> ArtifactFile | None:
    """One artifact, where it is of this project or none is given."""
    row = await connection.fetchrow(_SQL["find_one"], org_id, *address, project_id)
    return ArtifactFile(*row) if row else None
