"""The output of the results and suites of an upload: files in storage, and the artifacts that refer to their parts."""

import asyncio
from collections.abc import AsyncIterator, Container, Iterable, Iterator
from itertools import chain, count
from pathlib import Path
from typing import Final, NamedTuple

from service.domain.jobs import Claim
from service.domain.reports import StoredPart
from service.domain.results import ArtifactReference
from service.reports.output import MAX_ALL_EMBEDDED_BYTES, MAX_FILE_BYTES, OutputPart
from service.storage import Storage, stored_path
from service.usecases.reports.accept_report import UploadPart, store_part

_CONTENT_TYPE: Final = "text/plain; charset=utf-8"
_KIND: Final = "log"
_CHUNK_BYTES: Final = 256 * 1024
_RENAMED: Final = "report-{}"  # an output whose name is that of an artifact of the result


class StoredOutput(NamedTuple):
    """The stored files of an upload: all of its output, and all files that its reports contain."""

    text: StoredPart | None = None
    embedded: StoredPart | None = None

    @property
    def files(self) -> list[StoredPart]:
        """The files that exist."""
        return [file for file in self if file]


async def write_output(storage: Storage, claim: Claim, text: Path | None, embedded: Path | None) -> StoredOutput:
    """Copy the files with the output of a report into storage.

    Each attempt to ingest the report writes its own files, so that a worker without the claim can't replace a file that
    is in use. The periodic cleanup deletes the files of crashed workers.
    """
    stored_text = stored_embedded = None
    if text:
        path = stored_path("inbox", claim.org_id, claim.job_id, f"output-{claim.token.hex}")
        part = UploadPart(f"{claim.job_id}-output.txt", _CONTENT_TYPE, _chunks(text))
        stored_text = await store_part(storage, path, part, MAX_FILE_BYTES)
    if embedded:
        path = stored_path("inbox", claim.org_id, claim.job_id, f"embedded-{claim.token.hex}")
        part = UploadPart(f"{claim.job_id}-embedded", None, _chunks(embedded))
        stored_embedded = await store_part(storage, path, part, MAX_ALL_EMBEDDED_BYTES)
    return StoredOutput(stored_text, stored_embedded)


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
            kind, content_type = part.get("kind", _KIND), part.get("content_type", _CONTENT_TYPE)
            digest = bytes.fromhex(part["sha256"])
            yield ArtifactReference(kind, name, content_type, part["size"], digest, None, file.path, part["offset"])


def _unused_name(name: str, used: Container[str]) -> str:
    """Return the name, with a number if it is in use."""
    return next(each for each in chain([name], (f"{number}-{name}" for number in count(2))) if each not in used)


async def _chunks(source: Path) -> AsyncIterator[bytes]:
    with source.open("rb") as file:
        while chunk := await asyncio.to_thread(file.read, _CHUNK_BYTES):
            yield chunk
