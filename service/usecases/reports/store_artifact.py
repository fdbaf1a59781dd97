"""Upload of a file of a result: store the bytes, then insert the artifact."""

from os import urandom
from typing import NamedTuple

from service.domain.errors import InvalidRequest
from service.domain.ids import CaseKey, OrgId, RunKey, artifact_key
from service.domain.reports import StoredPart
from service.reports.attachments import Attachment, kind_of
from service.storage import Storage, stored_path
from service.store import artifacts, file_deletions
from service.store.artifacts import StoredArtifact
from service.store.postgres.database import Connection
from service.usecases.reports.accept_report import UploadPart, store_part


class NewArtifact(NamedTuple):
    """The result and the name of a new artifact. If `kind` is None, the name and content type determine it."""

    org_id: OrgId
    run_key: RunKey
    case_key: CaseKey
    name: str
    kind: str | None

    @property
    def row_key(self) -> tuple[RunKey, CaseKey, int]:
        """The primary key of the artifact within its organization."""
        return self.run_key, self.case_key, artifact_key(self.name)


async def receive_artifact(
    storage: Storage, new: NewArtifact, part: UploadPart, sha256: str | None, max_bytes: int
) -> StoredPart:
    """Stream the file into storage. Raises TooLarge, or InvalidRequest if the SHA-256 doesn't match."""
    path = stored_path("artifacts", new.org_id, new.run_key.hex, urandom(16).hex())
    stored = await store_part(storage, path, part, max_bytes)
    if sha256 not in (None, stored.sha256):
        await storage.delete(path)
        raise InvalidRequest(f"sha256: doesn't match the received file, which has {stored.sha256}", "sha256")
    return stored


async def record_artifact(connection: Connection, new: NewArtifact, stored: StoredPart) -> None:
    """Insert the artifact, and queue the deletion of the file that it replaces."""
    replaced = await artifacts.find_path(connection, new.org_id, new.row_key)
    kind = new.kind or kind_of(Attachment(new.name, content_type=stored.content_type))
    artifact = StoredArtifact(
        new.org_id, *new.row_key, kind, new.name, stored.content_type, stored.size, bytes.fromhex(stored.sha256),
        stored.path,
    )  # fmt: skip
    await artifacts.insert_stored(connection, artifact)
    if replaced is not None:
        await file_deletions.queue(connection, new.org_id, [replaced])
