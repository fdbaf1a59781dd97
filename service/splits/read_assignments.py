"""The assignments of an upload: files of a form that state the items of the job."""

from asyncio import to_thread
from typing import Final

from service.database.database import Connection
from service.domain.errors import InvalidRequest
from service.identity.keys.model import Caller
from service.reports.accept_report import UploadPart
from service.reports.form_documents import read_document
from service.reports.model import StoredPart
from service.runs.operations import check_run_of_job
from service.splits import queries
from service.splits.contract import AssignmentIn
from service.splits.model import MAX_ASSIGNMENTS_OF_UPLOAD, MAX_SPLIT_BYTES
from service.splits.operations import choose_jobs
from service.splits.queries import SplitDocument
from service.splits.store import write_document

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
        size, stated = await read_document(part, "split", AssignmentIn, MAX_SPLIT_BYTES)
        if stated.project_id != self._project_id:
            raise InvalidRequest(f"split.project_id: must be that of the upload, {self._project_id!r}", "split")
        document = await to_thread(write_document, stated.model_dump(exclude=_COLUMNS))
        self._assignments.append(SplitDocument("", stated.key, *choose_jobs(self._caller, stated), document))
        self.files.append(StoredPart("", part.name, part.content_type, size, ""))

    async def store(self, connection: Connection, receipt_id: str) -> None:
        """Store the assignments. Requires a transaction. Raises Forbidden for a stored run of another pipeline."""
        for each in self._assignments:
            await check_run_of_job(connection, self._caller, each.run_id)
            assignment = each._replace(receipt_id=receipt_id)
            await queries.insert_assignment(connection, self._caller.org_id, self._project_id, assignment)
