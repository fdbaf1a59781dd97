"""Registration of uploaded files as artifacts: reports of their run, attachments of the results that name them."""

from collections.abc import Iterable, Mapping
from typing import Final

from service.domain.ids import RUN_ITSELF, artifact_key
from service.domain.reports import StoredPart, Upload
from service.domain.texts import MAX_TEXT
from service.reports.attachments import Attachment, kind_of
from service.store import artifacts
from service.store.artifacts import Reference, StoredArtifact
from service.store.postgres.database import Connection
from service.store.runs import StoredRun

_REPORT: Final = "report"
_LOG: Final = "log"


async def store_uploads(connection: Connection, run: StoredRun, upload: Upload, output: StoredPart | None) -> None:
    """Insert the artifacts in the caller's transaction.

    An attachment that no result names belongs to the run, and so does the file with the output of the results: it is
    deleted with the run, and stays if all results that refer to it are replaced.
    """
    if output:
        await artifacts.insert_stored(connection, _run_artifact(run, output, _LOG))
    if upload.is_reference:
        return
    for report in upload.artifacts():
        await artifacts.insert_stored(connection, _run_artifact(run, report, _REPORT))
    if not upload.attachments:
        return
    references = await artifacts.find_references(connection, run.org_id, run.key)
    named = match_references(references, [part.name for part in upload.attachments])
    for part in upload.attachments:
        for reference in named[part.name]:
            await artifacts.insert_stored(connection, _result_artifact(run, reference, part))
        if not named[part.name]:
            await artifacts.insert_stored(connection, _run_artifact(run, part, _kind(part)))


def match_references(references: Iterable[Reference], names: Iterable[str]) -> Mapping[str, list[Reference]]:
    """Return the references of each file: those whose URI ends with the name of the file.

    If such URIs have different paths, return only the references whose URI equals the name.
    """
    known = list(references)
    return {name: _matches(name, known) for name in names}


def _matches(name: str, references: list[Reference]) -> list[Reference]:
    expected = _parts(name)
    if not expected:
        return []
    found = [reference for reference in references if _parts(reference.uri)[-len(expected) :] == expected]
    paths = {tuple(_parts(reference.uri)) for reference in found}
    return found if len(paths) == 1 else [reference for reference in found if _parts(reference.uri) == expected]


def _parts(path: str) -> list[str]:
    return [part for part in path.replace("\\", "/").split("/") if part not in ("", ".", "..")]


def _kind(part: StoredPart) -> str:
    return kind_of(Attachment(part.name, content_type=part.content_type))


def _run_artifact(run: StoredRun, part: StoredPart, kind: str) -> StoredArtifact:
    name = part.name[:MAX_TEXT]
    return StoredArtifact(
        run.org_id, run.key, RUN_ITSELF, artifact_key(name), kind, name, part.content_type, part.size,
        bytes.fromhex(part.sha256), part.path,
    )  # fmt: skip


def _result_artifact(run: StoredRun, reference: Reference, part: StoredPart) -> StoredArtifact:
    return StoredArtifact(
        run.org_id, run.key, reference.case_key, reference.artifact_key, reference.kind, reference.name,
        part.content_type or reference.content_type, part.size, bytes.fromhex(part.sha256), part.path,
    )  # fmt: skip
