"""Registration of uploaded files as artifacts: of the results that name them, or of their run."""

import asyncio
from collections.abc import AsyncIterator, Collection, Container, Iterable, Iterator, Mapping
from functools import partial
from itertools import chain, count
from pathlib import Path
from typing import Final, NamedTuple

from service.artifacts import store as artifacts_store
from service.artifacts.store import Reference, StoredArtifact
from service.database.database import Connection
from service.domain.ids import RUN_ITSELF, CaseKey, artifact_key
from service.domain.texts import MAX_TEXT, replace_unstorable
from service.ingest.contract import ArtifactIn
from service.reports.accept_report import UploadPart, store_part
from service.reports.conversion.attachments import kind_of, path_segments
from service.reports.conversion.output import MAX_ALL_EMBEDDED_BYTES, MAX_FILE_BYTES, OutputPart
from service.reports.model import StoredPart
from service.reports.store import LeasedReport
from service.results.model import ArtifactReference
from service.runs.store import StoredRun
from service.storage import Storage, stored_path
from service.tasks.model import Lease

_CONTENT_TYPE: Final = "text/plain; charset=utf-8"
_CHUNK_BYTES: Final = 256 * 1024
_RENAMED: Final = "report-{}"  # an output that has the name of an artifact of the result
_REPORT: Final = "report"
_LOG: Final = "log"
_EMBEDDED: Final = "embedded"  # the lists of artifacts omit this kind, which isn't in the contract


class StoredOutput(NamedTuple):
    """The stored files of an upload: all of its output, and all files that its reports contain."""

    text: StoredPart | None = None
    embedded: StoredPart | None = None

    @property
    def files(self) -> list[StoredPart]:
        """The files that exist."""
        return [file for file in self if file]


async def write_output(storage: Storage, lease: Lease, text: Path | None, embedded: Path | None) -> StoredOutput:
    """Copy the files with the output of a report into storage.

    Each attempt to ingest the report writes its own files, so that a worker without the lease can't replace a file that
    is in use. The periodic cleanup deletes the files of crashed workers.
    """
    stored_text = stored_embedded = None
    if text:
        path = stored_path("inbox", lease.org_id, lease.task_id, f"output-{lease.token.hex}")
        part = UploadPart(f"{lease.task_id}-output.txt", _CONTENT_TYPE, _chunks(text))
        stored_text = await store_part(storage, path, part, MAX_FILE_BYTES)
    if embedded:
        path = stored_path("inbox", lease.org_id, lease.task_id, f"embedded-{lease.token.hex}")
        part = UploadPart(f"{lease.task_id}-embedded", None, _chunks(embedded))
        stored_embedded = await store_part(storage, path, part, MAX_ALL_EMBEDDED_BYTES)
    return StoredOutput(stored_text, stored_embedded)


async def _chunks(source: Path) -> AsyncIterator[bytes]:
    with source.open("rb") as file:
        while chunk := await asyncio.to_thread(file.read, _CHUNK_BYTES):
            yield chunk


def references(
    output: StoredOutput, parts: Iterable[OutputPart], used_names: Iterable[str]
) -> Iterator[ArtifactReference]:
    """Yield one artifact per output and per file that the report contains, with names that the result doesn't use."""
    listed, used = set(used_names), set(used_names)
    for part in parts:
        file = output.embedded if "kind" in part else output.text
        if file:
            stated = _RENAMED.format(part["name"]) if part["name"] in listed else part["name"]
            name = _unused_name(stated, used)
            used.add(name)
            kind, content_type = part.get("kind", _LOG), part.get("content_type", _CONTENT_TYPE)
            digest = bytes.fromhex(part["sha256"])
            yield ArtifactReference(kind, name, content_type, part["size"], digest, None, file.path, part["offset"])


def _unused_name(name: str, used: Container[str]) -> str:
    """Return the name, with a number if it is in use."""
    return next(each for each in chain([name], (f"{number}-{name}" for number in count(2))) if each not in used)


class UploadOutput(NamedTuple):
    """The stored files with all output of an upload, and the parts that suites wrote."""

    stored: StoredOutput
    suites: Iterable[OutputPart]


async def store_uploads(
    connection: Connection, run: StoredRun, leased: LeasedReport, output: UploadOutput,
    suite_files: Iterable[ArtifactIn], cases: Collection[CaseKey],
) -> None:  # fmt: skip
    """Insert the artifacts in the caller's transaction. `cases` are the cases of the upload whose results name files.

    An attachment that no result of the upload names belongs to the run, and so do the files that suites name, the
    outputs of suites, and the file with all output: it is deleted with the run, and stays if all results that refer to
    it are replaced. The same applies to the file with all files that the reports contain, but no list contains it.
    """
    receipt_id = leased.lease.task_id
    await artifacts_store.insert_references(connection, run.key_ref, map(partial(_reference, receipt_id), suite_files))
    await artifacts_store.insert_stored(connection, *_output_artifacts(run, leased, output))
    if leased.upload.is_reference:
        return
    reports = leased.upload.artifacts()
    await artifacts_store.insert_stored(connection, *(_own_artifact(run, report, _REPORT) for report in reports))
    if attachments := leased.upload.attachments:
        references = await artifacts_store.find_references(connection, run.key_ref, (*cases, RUN_ITSELF), receipt_id)
        named = match_references(references, [part.name for part in attachments])
        await artifacts_store.insert_stored(connection, *_attached(run, attachments, named))


def _reference(receipt_id: str, file: ArtifactIn) -> ArtifactReference:
    name, uri = (replace_unstorable(text)[:MAX_TEXT] for text in (file["name"], file.get("uri") or ""))
    kind = file.get("kind") or "other"
    return ArtifactReference(kind, name, file.get("content_type"), None, None, uri, receipt_id=receipt_id)


def _output_artifacts(run: StoredRun, leased: LeasedReport, output: UploadOutput) -> Iterator[StoredArtifact]:
    text, embedded = output.stored
    if text:
        yield _own_artifact(run, text, _LOG)
        yield from (_suite_artifact(run, leased, text, part) for part in output.suites)
    if embedded:
        yield _own_artifact(run, embedded, _EMBEDDED)


def _own_artifact(run: StoredRun, part: StoredPart, kind: str) -> StoredArtifact:
    """Return an artifact that no file of a client replaces, because no name in a request contains a NUL character."""
    artifact = _run_artifact(run, part, kind)
    return artifact._replace(artifact_key=artifact_key(f"{artifact.name}\0"))


def _run_artifact(run: StoredRun, part: StoredPart, kind: str) -> StoredArtifact:
    name = part.name[:MAX_TEXT]
    return StoredArtifact(
        run.org_id, run.key, RUN_ITSELF, artifact_key(name), kind, name, part.content_type, part.size,
        bytes.fromhex(part.sha256), part.path,
    )  # fmt: skip


def _suite_artifact(run: StoredRun, leased: LeasedReport, file: StoredPart, part: OutputPart) -> StoredArtifact:
    name = f"{leased.lease.task_id}-{part['name']}"
    return StoredArtifact(
        run.org_id, run.key, RUN_ITSELF, artifact_key(name), _LOG, name, file.content_type, part["size"],
        bytes.fromhex(part["sha256"]), file.path, part["offset"],
    )  # fmt: skip


def match_references(references: Iterable[Reference], names: Iterable[str]) -> Mapping[str, list[Reference]]:
    """Return the references of each file: those whose URI ends with the name of the file.

    If such URIs have different paths, return only the references whose URI equals the name.
    """
    known = list(references)
    return {name: _matches(name, known) for name in names}


def _matches(name: str, references: list[Reference]) -> list[Reference]:
    expected = path_segments(name)
    if not expected:
        return []
    found = [reference for reference in references if path_segments(reference.uri)[-len(expected) :] == expected]
    paths = {tuple(path_segments(reference.uri)) for reference in found}
    return found if len(paths) == 1 else [reference for reference in found if path_segments(reference.uri) == expected]


def _attached(
    run: StoredRun, attachments: Iterable[StoredPart], named: Mapping[str, Iterable[Reference]]
) -> Iterator[StoredArtifact]:
    for part in attachments:
        if references := named[part.name]:
            yield from (_result_artifact(run, reference, part) for reference in references)
        else:
            yield _run_artifact(run, part, kind_of(part.name, part.content_type))


def _result_artifact(run: StoredRun, reference: Reference, part: StoredPart) -> StoredArtifact:
    return StoredArtifact(
        run.org_id, run.key, reference.case_key, reference.artifact_key, reference.kind, reference.name,
        part.content_type or reference.content_type, part.size, bytes.fromhex(part.sha256), part.path,
        receipt_id=reference.receipt_id,
    )  # fmt: skip
