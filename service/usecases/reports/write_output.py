"""The output of the results and suites of an upload: one file in storage, and the artifacts that refer to its parts."""

import asyncio
from collections.abc import AsyncIterator, Iterable, Iterator
from pathlib import Path
from typing import Final

from service.domain.jobs import Claim
from service.domain.reports import StoredPart
from service.domain.results import ArtifactReference
from service.reports.output import MAX_FILE_BYTES, OutputPart
from service.storage import Storage, stored_path
from service.usecases.reports.accept_report import UploadPart, store_part

_CONTENT_TYPE: Final = "text/plain; charset=utf-8"
_KIND: Final = "log"
_CHUNK_BYTES: Final = 256 * 1024
_RENAMED: Final = "report-{}"  # an output whose name is that of an artifact of the result


async def write_output(storage: Storage, claim: Claim, source: Path) -> StoredPart:
    """Copy the file with the output of a report into storage.

    Each attempt to ingest the report writes its own file, so that a worker without the claim can't replace a file that
    is in use. The periodic cleanup deletes the files of crashed workers.
    """
    path = stored_path("inbox", claim.org_id, claim.job_id, f"output-{claim.token.hex}")
    part = UploadPart(f"{claim.job_id}-output.txt", _CONTENT_TYPE, _chunks(source))
    return await store_part(storage, path, part, MAX_FILE_BYTES)


def references(path: str, parts: Iterable[OutputPart], used_names: Iterable[str]) -> Iterator[ArtifactReference]:
    """Yield one artifact per output, with names that the result doesn't use."""
    used = set(used_names)
    for part in parts:
        name = _RENAMED.format(part["name"]) if part["name"] in used else part["name"]
        digest = bytes.fromhex(part["sha256"])
        yield ArtifactReference(_KIND, name, _CONTENT_TYPE, part["size"], digest, None, path, part["offset"])


async def _chunks(source: Path) -> AsyncIterator[bytes]:
    with source.open("rb") as file:
        while chunk := await asyncio.to_thread(file.read, _CHUNK_BYTES):
            yield chunk
