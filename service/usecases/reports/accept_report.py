"""Takes an uploaded report on: its bytes into storage, then a receipt and a message in one transaction."""

from collections.abc import AsyncIterator
from hashlib import sha256
from typing import NamedTuple

import orjson

from service.domain.errors import TooLarge
from service.domain.ids import OrgId, new_id
from service.domain.queues import REPORTS
from service.domain.reports import StoredPart, Upload
from service.storage import Storage, stored_path
from service.store import outbox, reports
from service.store.postgres.database import Connection
from service.store.reports import NewReport


class UploadPart(NamedTuple):
    """A file on its way in."""

    name: str
    content_type: str | None
    chunks: AsyncIterator[bytes]


async def store_part(storage: Storage, path: str, part: UploadPart, max_bytes: int) -> StoredPart:
    """Streams a file into storage. Raises TooLarge, and leaves nothing then."""
    async with storage.open_writer(path, part.content_type) as file:
        async for chunk in part.chunks:
            if file.size + len(chunk) > max_bytes:
                raise TooLarge(f"there are more than the {max_bytes} bytes that may still come")
            await file.write(chunk)
    return StoredPart(path, part.name, part.content_type, file.size, file.sha256.hex())


class UploadWriter:
    """Where one upload goes. Its parts share the limit, so that nobody sends as much as they like in small pieces."""

    def __init__(self, storage: Storage, org_id: OrgId, max_bytes: int) -> None:
        self.receipt_id = new_id("rcp")
        self._storage = storage
        self._org_id = org_id
        self._left = max_bytes
        self._paths: list[str] = []

    async def keep(self, part: UploadPart) -> StoredPart:
        """Streams a file into storage. Raises TooLarge where the whole upload passes the limit."""
        path = stored_path("inbox", self._org_id, self.receipt_id, str(len(self._paths)))
        stored = await store_part(self._storage, path, part, self._left)
        self._left -= stored.size
        self._paths.append(path)
        return stored

    async def clear(self) -> None:
        """Deletes what was kept: nobody will read it."""
        for path in self._paths:
            await self._storage.delete(path)


class AcceptedReport(NamedTuple):
    """The receipt, which is an earlier one where the same report was sent before."""

    receipt_id: str
    is_new: bool


def identify(run_id: str, upload: Upload) -> bytes:
    """A digest of all that was sent: what has the same one is the same report."""
    files = [[part.name, part.sha256] for part in upload.parts]
    said = [run_id, upload.run, upload.encoding, files]
    return sha256(orjson.dumps(said, option=orjson.OPT_SORT_KEYS)).digest()


async def accept_report(
    connection: Connection, org_id: OrgId, receipt_id: str, run_id: str, upload: Upload
) -> AcceptedReport:
    """Queues the report. The same one, unless it was rejected, is not read again."""
    digest = identify(run_id, upload)
    source, project_id = f"/v1/runs/{run_id}/report", str(upload.run["project_id"])
    report = NewReport(org_id, receipt_id, source, digest.hex(), digest, run_id, project_id, upload)
    async with connection.transaction():
        accepted = await reports.queue(connection, report)
        if accepted is None:
            return AcceptedReport(await reports.find_receipt(connection, report), is_new=False)
        await outbox.put(connection, REPORTS, {"org_id": org_id, "receipt_id": accepted})
    return AcceptedReport(accepted, is_new=True)
