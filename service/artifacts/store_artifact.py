"""Upload of a file of a result or of a run: store the bytes, then insert the artifact."""

from os import urandom
from typing import NamedTuple

from service.artifacts import store
from service.artifacts.operations import FindOwner
from service.artifacts.store import ArtifactRowKey, StoredArtifact
from service.database.database import Connection, Pool, as_organization
from service.domain.errors import Conflict, InvalidRequest, NotFound
from service.domain.ids import RUN_ITSELF, CaseKey, OrgId, RunKey, artifact_key
from service.identity.keys.model import Caller
from service.receipts import store as receipts_store
from service.reports.accept_report import UploadPart, store_part
from service.reports.conversion.attachments import kind_of
from service.reports.model import StoredPart
from service.reports.untrusted_uploads import UploadQuota, check_not_promoted, for_caller
from service.runs.model import is_untrusted_id
from service.runs.operations import check_run_of_job
from service.runs.store import RunKeyRef
from service.storage import Storage, stored_path


class NamedFile(NamedTuple):
    """The name of an uploaded file. If `kind` is None, the name and content type determine it.

    `receipt_id` is the receipt of the report that names the file, or None.
    """

    name: str
    kind: str | None
    receipt_id: str | None


class NewArtifact(NamedTuple):
    """The file, its result or run, and the key of its artifact."""

    org_id: OrgId
    row_key: ArtifactRowKey
    file: NamedFile


async def check_upload(
    pool: Pool, caller: Caller, find_owner: FindOwner, file: NamedFile, quota: UploadQuota, size: int
) -> NewArtifact:
    """Return the artifact of a file before its `size` bytes are received.

    Raises NotFound, Forbidden, Conflict, and RateLimitExceeded.
    """
    async with as_organization(pool, caller.org_id) as connection:
        new = await find_artifact(connection, caller, find_owner, file)
        await quota.check(connection, 1, size)
    return new


async def find_artifact(connection: Connection, caller: Caller, find_owner: FindOwner, file: NamedFile) -> NewArtifact:
    """Return the artifact of a file.

    Raises NotFound, Forbidden, also for a run of another CI job, and Conflict if several reports name such a file.
    """
    run_key, case_key = await for_caller(caller, find_owner)(connection)
    await check_run_of_job(connection, caller, run_key)
    key = await _find_key(connection, caller, run_key, case_key, file)
    return NewArtifact(caller.org_id, (run_key, case_key, key), file)


async def _find_key(connection: Connection, caller: Caller, run_key: RunKey, case_key: CaseKey, file: NamedFile) -> int:
    """Return the key of the artifact that the file replaces, or of a new one.

    A file replaces the reference to it. For example, a report names `pay.png`: the file `pay.png` then gets the key of
    this reference, which contains the receipt of the report. A file with a receipt replaces no file of another report.
    """
    own_key = artifact_key(file.name, file.receipt_id)
    keys = await store.find_keys(connection, caller.org_id, run_key, case_key, file.name, own_key)
    if file.receipt_id and own_key not in keys:
        await _check_receipt(connection, caller, case_key, file.receipt_id, file.name)
    if file.receipt_id or own_key in keys or not keys:
        return own_key
    if len(keys) > 1:
        raise Conflict(
            f"receipt_id: {len(keys)} reports name the file {file.name[:100]!r} here; state the receipt of one of them"
        )
    return keys.pop()


async def _check_receipt(connection: Connection, caller: Caller, case_key: CaseKey, receipt_id: str, name: str) -> None:
    """Raise NotFound: the report names no such file of a result, or, for a file of the run, the report is unknown.

    The key of a project knows only its reports, and a public key only reports of untrusted runs.
    """
    if case_key != RUN_ITSELF:
        raise NotFound(
            f"receipt_id: the report of {receipt_id} names no file {name[:100]!r} here. Either another report has"
            " replaced the result, or the receipt isn't stored yet"
        )
    receipt = await receipts_store.find_one(connection, caller.org_id, receipt_id, caller.project_id)
    if receipt is None or (caller.is_public and not is_untrusted_id(receipt.run_id or "")):
        raise NotFound(f"receipt_id: receipt {receipt_id!r} not found")


async def receive_artifact(
    storage: Storage, new: NewArtifact, part: UploadPart, sha256: str | None, max_bytes: int
) -> StoredPart:
    """Stream the file into storage. Raises TooLarge, or InvalidRequest if the SHA-256 doesn't match."""
    path = stored_path("artifacts", new.org_id, new.row_key[0].hex, urandom(16).hex())
    stored = await store_part(storage, path, part, max_bytes)
    if sha256 not in (None, stored.sha256):
        await storage.delete(path)
        raise InvalidRequest(f"sha256: doesn't match the received file, which has {stored.sha256}", "sha256")
    return stored


async def record_artifact(
    connection: Connection, caller: Caller, new: NewArtifact, stored: StoredPart, quota: UploadQuota
) -> bool:
    """Insert the artifact, and queue the deletion of the file that it replaces.

    Return False, and change nothing, if the artifact already has these bytes and this content type. Raises
    RateLimitExceeded, and Forbidden if a public key's run was promoted meanwhile.
    """
    await check_not_promoted(connection, caller, new.row_key[0])
    sha256 = bytes.fromhex(stored.sha256)
    replaced = await store.lock_file(connection, new.org_id, new.row_key)
    if replaced and replaced.sha256 == sha256 and stored.content_type in (None, replaced.content_type):
        return False
    kind = new.file.kind or kind_of(new.file.name, stored.content_type)
    artifact = StoredArtifact(
        new.org_id, *new.row_key, kind, new.file.name, stored.content_type, stored.size, sha256, stored.path,
        receipt_id=new.file.receipt_id,
    )  # fmt: skip
    await store.insert_stored(connection, artifact)
    if replaced is not None:
        await store.delete_unused(connection, RunKeyRef(new.org_id, new.row_key[0]), [replaced.path])
    await quota.add(connection, [stored])
    return True
