"""Artifacts of results and runs: references to external files, and files in the storage of the service."""

from collections.abc import Collection, Iterable, Sequence
from typing import Final, NamedTuple

import orjson

from service.artifacts.contract import Artifact
from service.artifacts.model import ArtifactUsage
from service.database import pages
from service.database.database import Connection, Row
from service.database.pages import RowPage, cut_page, find_object
from service.database.partitions import key_range
from service.database.statements import Statement, compose, statements
from service.domain.ids import CaseKey, OrgId, RunKey
from service.results.model import ArtifactReference
from service.retention import file_deletions
from service.runs.store import RunKeyRef, RunSelector

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


async def find_stored(
    connection: Connection, org_id: OrgId, row_key: ArtifactRowKey, project_id: str | None
) -> ArtifactFile | None:
    """Return one artifact. If `project_id` isn't None, return only an artifact of this project."""
    row = await connection.fetchrow(_SQL["find_one"], org_id, *row_key, project_id)
    return ArtifactFile(*row) if row else None


async def find(connection: Connection, org_id: OrgId, key_id: str) -> ArtifactUsage:
    """Return the files that the key has uploaded today."""
    return _usage(await connection.fetchrow(_SQL["find"], org_id, key_id))


async def add(connection: Connection, org_id: OrgId, key_id: str, files: int, size: int) -> ArtifactUsage:
    """Add uploaded files with `size` bytes together, and return all files of today. Locks the row of the key."""
    return _usage(await connection.fetchrow(_SQL["add"], org_id, key_id, files, size))


async def delete_expired(connection: Connection, limit: int) -> int:
    """Delete at most `limit` rows of earlier days, of all organizations. Return the number deleted."""
    return int(await connection.fetchval(_SQL["delete_expired"], limit))


def _usage(row: Row | None) -> ArtifactUsage:
    if row is None:
        raise LookupError("the statement returned no row")
    return ArtifactUsage(*row)


class ArtifactPosition(NamedTuple):
    """A position in a list of artifacts: those of the result are first, then those of its run."""

    run_level: bool
    artifact_key: int


_START: Final = ArtifactPosition(False, -(2**63))


class ReportFilePosition(NamedTuple):
    """A position in the list of the files that a report names."""

    case_key: int
    artifact_key: int


_FIRST_FILE: Final = ReportFilePosition(-(2**63), -(2**63))


class FileOfReport(NamedTuple):
    """A file that a report names: its key, and its public object as JSON."""

    case_key: int
    artifact_key: int
    item: str


class OwnerRun(NamedTuple):
    """The run of an uploaded file."""

    run_key: RunKey
    project_id: str


class NamedCase(NamedTuple):
    """A case of a run that has the requested suite, name, and variant."""

    case_key: CaseKey
    variant: dict[str, str]


async def list_page(
    connection: Connection, org_id: OrgId, key: tuple[RunKey, CaseKey], after: ArtifactPosition | None, limit: int,
    link_base: str,
) -> RowPage[Artifact, ArtifactPosition]:  # fmt: skip
    """Return the next artifacts of the result and the exports of its run, or of the run itself (RUN_ITSELF)."""
    statement = page_statement()
    run_level, artifact_key = after or _START
    values = {
        "org_id": org_id, "run_key": key[0], "case_key": key[1], "page": limit,
        "after_run_level": run_level, "after_key": artifact_key, "link_base": link_base,
    }  # fmt: skip
    row = await statement.fetch_row(connection, values)
    is_last = row["artifact_key"] is None
    end = None if is_last else ArtifactPosition(row["run_level"], row["artifact_key"])
    return RowPage(orjson.loads(row["data"]), end)


async def list_report_files(
    connection: Connection, org_id: OrgId, run_key: RunKey, receipt_id: str, after: ReportFilePosition | None,
    limit: int, link_base: str,
) -> RowPage[Artifact, ReportFilePosition]:  # fmt: skip
    """Return the next files that a report names, of the results of the run and of the run itself."""
    case_key, artifact_key = after or _FIRST_FILE
    values = {
        "org_id": org_id, "run_key": run_key, "receipt_id": receipt_id, "page": limit, "after_case": case_key,
        "after_key": artifact_key, "link_base": link_base,
    }  # fmt: skip
    rows = await compose("page_of_report_files").fetch_rows(connection, values)
    files = [FileOfReport(*row[:3]) for row in rows if row["item"] is not None]
    end = None if rows[0]["end_key"] is None else ReportFilePosition(rows[0]["end_case"], rows[0]["end_key"])
    page = cut_page(files, limit, end, lambda file: ReportFilePosition(*file[:2]))
    return RowPage([orjson.loads(file.item) for file in page.rows], page.next)


async def find_owner_run(connection: Connection, org_id: OrgId, selector: RunSelector) -> OwnerRun | None:
    """Return the run of an uploaded file, or None if it doesn't exist or its results have expired."""
    rows = await compose("owner_run").fetch_rows(connection, {"org_id": org_id, **selector._asdict()})
    return OwnerRun(*rows[0]) if rows else None


async def find_cases(
    connection: Connection, org_id: OrgId, run: OwnerRun, suite: str, name: str, variant: dict[str, str]
) -> list[NamedCase]:
    """Return the cases of the results of a run that have this suite and name, and all pairs of the variant."""
    values = {"org_id": org_id, **run._asdict(), "suite": suite, "name": name, "variant": variant}
    return [NamedCase(*row) for row in await compose("cases_by_name").fetch_rows(connection, values)]


async def result_exists(
    connection: Connection, org_id: OrgId, key: tuple[RunKey, CaseKey], project_id: str | None
) -> bool:
    """Return whether the organization, or the given project, has this result."""
    statement = compose("has_result")
    values = {"org_id": org_id, "run_key": key[0], "case_key": key[1], "project_id": project_id}
    return await statement.fetch_value(connection, values) is not None


async def find_run_key(connection: Connection, org_id: OrgId, selector: RunSelector) -> RunKey | None:
    """Return the key of a run, or None if the organization, or the given project, doesn't have it."""
    values = {"org_id": org_id, **selector._asdict()}
    key: RunKey | None = await compose("key_of_run_of_artifacts").fetch_value(connection, values)
    return key


async def find_one(
    connection: Connection, org_id: OrgId, address: tuple[RunKey, CaseKey, int], link_base: str
) -> Artifact | None:
    """Return one artifact, or None if it doesn't exist."""
    run_key, case_key, artifact_key = address
    values = {
        "org_id": org_id, "run_key": run_key, "case_key": case_key, "artifact_key": artifact_key,
        "link_base": link_base,
    }  # fmt: skip
    found: Artifact | None = await find_object(connection, "one_artifact", values)
    return found


def page_statement() -> Statement:
    """Return the statement for the list."""
    return compose("page_of_artifacts", page_bytes=pages.MAX_PAGE_BYTES)
