"""The assignments of an upload: files of a form that state the items of the job."""

import zlib
from asyncio import to_thread
from contextlib import suppress
from typing import Final

from pydantic import ValidationError

from service.contracts.validation import describe_error, field_path, validation_errors
from service.database.database import Connection
from service.domain.errors import InvalidRequest, TooLarge
from service.identity.keys.model import Caller
from service.reports.accept_report import UploadPart
from service.reports.model import StoredPart
from service.runs.operations import check_run_of_job
from service.splits import queries
from service.splits.contract import AssignmentIn
from service.splits.model import MAX_ASSIGNMENTS_OF_UPLOAD, MAX_SPLIT_BYTES
from service.splits.operations import choose_jobs
from service.splits.queries import SplitDocument
from service.splits.store import write_document

_GZIP: Final = b"\x1f\x8b"
_GZIP_WINDOW: Final = 31  # of zlib
_COLUMNS: Final = {"key", "project_id", "pipeline", "run_id"}


class UploadedAssignments:
    """The assignments of one upload. `files` have their sizes without compression; they aren't stored as files."""

    def __init__(self, caller: Caller, project_id: str) -> None:
        self.files: list[StoredPart] = []
        self._caller = caller
        self._project_id = project_id
        self._assignments: list[SplitDocument] = []

    @property
    def documents(self) -> list[bytes]:
        """The content of the assignments."""
        return [each.document for each in self._assignments]

    async def read(self, part: UploadPart) -> None:
        """Add the assignment of a file. Raises InvalidRequest, TooLarge, and Forbidden.

        The token of a CI job states the pipeline, so that a job can't state what jobs of other pipelines execute.
        """
        if len(self.files) == MAX_ASSIGNMENTS_OF_UPLOAD:
            raise InvalidRequest(f"split: must occur at most {MAX_ASSIGNMENTS_OF_UPLOAD} times", "split")
        data = bytearray()
        async for chunk in part.chunks:
            data += chunk
            _check_size(data, part.name)
        size, stated, document = await to_thread(_parse, bytes(data), part.name)
        if stated.project_id != self._project_id:
            raise InvalidRequest(f"split.project_id: must be that of the upload, {self._project_id!r}", "split")
        self._assignments.append(SplitDocument("", stated.key, *choose_jobs(self._caller, stated), document))
        self.files.append(StoredPart("", part.name, part.content_type, size, ""))

    async def store(self, connection: Connection, receipt_id: str) -> None:
        """Store the assignments. Requires a transaction. Raises Forbidden for a stored run of another pipeline."""
        for each in self._assignments:
            await check_run_of_job(connection, self._caller, each.run_id)
            assignment = each._replace(receipt_id=receipt_id)
            await queries.insert_assignment(connection, self._caller.org_id, self._project_id, assignment)


def _parse(data: bytes, name: str) -> tuple[int, AssignmentIn, bytes]:
    """Return the size without compression, the assignment, and its stored document."""
    if data.startswith(_GZIP):
        inflater = zlib.decompressobj(_GZIP_WINDOW)
        with suppress(zlib.error):  # then the file isn't complete
            data = inflater.decompress(data, MAX_SPLIT_BYTES + 1)
        _check_size(data, name)
        if not inflater.eof or inflater.unused_data:
            raise InvalidRequest(f"split: {name} must be one complete gzip file", "split")
    try:
        stated = AssignmentIn.model_validate_json(data)
    except ValidationError as error:
        first = validation_errors(error)[0]
        path = field_path(("split", *first["loc"]))
        raise InvalidRequest(f"{path}: {describe_error(first)} ({name})", path) from None
    return len(data), stated, write_document(stated.model_dump(exclude=_COLUMNS))


def _check_size(data: bytes | bytearray, name: str) -> None:
    if len(data) > MAX_SPLIT_BYTES:
        raise TooLarge(f"split: {name} must have at most {MAX_SPLIT_BYTES} bytes without compression")
