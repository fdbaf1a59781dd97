"""Bulk exports: requests one, waits for it, downloads its file with resumption, and checks the SHA-256."""

import glob
import hashlib
import os
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager
from datetime import datetime, timedelta, timezone
from math import ceil
from pathlib import Path
from typing import Any, Final, Protocol
from urllib.parse import quote

from service.client.http import IncompleteResponse, JsonObject, Server, ServerError
from service.client.runs import run_path
from service.client.servers import ServerKey, check_project, open_server
from service.client.terminal import print_message, show_progress
from service.domain.filters import ResultFilter, build_filter
from service.domain.timestamps import parse_timestamp
from service.exports.columns import columns_of
from service.exports.model import EXPORT_FORMATS

Write = Callable[[bytes], object]

_CHUNK_BYTES: Final = 2**18
_STDOUT: Final = 1
_RETRY_S: Final = 60
_WAIT_S: Final = 2  # of one request; also the interval of updates of the progress bar
_MAX_RESUMPTIONS: Final = 10  # consecutive attempts that receive no data
_PAUSE_S: Final = 1.0
_MAX_AGE: Final = timedelta(hours=1)  # a repeated command after this time needs current results
_UNFINISHED: Final = ("queued", "running")


class Output(Protocol):
    """The destination of one download."""

    @property
    def received(self) -> int:
        """The number of bytes that were received."""

    def prepare(self) -> None:
        """Create what an interrupted command needs to continue."""

    def writing(self, *, resumes: bool) -> AbstractContextManager[Write]:
        """Provide a function that appends bytes. If `resumes` is false, they start at the beginning."""

    def sha256(self) -> str:
        """Return the SHA-256 of the received bytes, in hexadecimal."""

    def finish(self) -> None:
        """Make the complete file visible at its path."""

    def discard(self) -> None:
        """Delete the received bytes if they aren't visible yet."""


def export(url: str, key: ServerKey, request: Mapping[str, Any], target: Path, timeout_s: float) -> JsonObject:
    """Create an export, write its file to `target`, and return the job.

    Raises ClientError, also if the run or project of the filter doesn't exist, or if the export isn't finished after
    `timeout_s`. The download has no limit.
    """
    stream = find_stream(target)
    with open_server(url, key, retry_s=_RETRY_S) as server:
        _check_run(server, request)
        interrupted = None if stream else _find_interrupted(server, request, target.resolve())
        return _finish(server, interrupted or _request(server, request), target, stream, timeout_s)


def fetch(url: str, key: ServerKey, export_id: str, target: Path, timeout_s: float) -> JsonObject:
    """Write the file of an existing export to `target`, and return the job. Continues an interrupted download.

    Raises ClientError, as `export` does.
    """
    stream = find_stream(target)
    with open_server(url, key, retry_s=_RETRY_S) as server:
        job = server.get(f"/results/export/{quote(export_id, safe='')}")
        return _finish(server, job, target, stream, timeout_s)


def position(job: JsonObject) -> str:
    """Return the position of a finished export. Raises ServerError if a worker of an older version has written it."""
    if not job.get("position"):
        raise ServerError(f"export {job['id']} has no position, because the server or a worker has an older version")
    return str(job["position"])


def _check_run(server: Server, request: Mapping[str, Any]) -> None:
    """Raise ServerError if the request selects a run that doesn't exist. The server would write a file without rows."""
    if run_id := (request.get("filter") or {}).get("run_id"):
        server.get(run_path(run_id))


def _request(server: Server, request: Mapping[str, Any]) -> Any:
    try:
        return server.send("POST", "/results/export", request)
    except ServerError as error:
        if error.param == "filter.project_id":
            check_project(server, request["filter"]["project_id"])
        raise


def _find_interrupted(server: Server, request: Mapping[str, Any], target: Path) -> Any:
    """Return the job of a recently interrupted command with the same request. Deletes the remains of other jobs."""
    for part in target.parent.glob(f"{glob.escape(target.name)}.exp_*.part"):
        job = _get_usable(server, part.suffixes[-2].removeprefix("."))
        if job and _is_recent(job) and _is_equivalent(job, request):
            print_message(f"continuing the interrupted export {job['id']}; delete {part} to start a new one")
            return job
        part.unlink(missing_ok=True)
    return None


def _get_usable(server: Server, export_id: str) -> Any:
    """Return the job, or None if it doesn't exist or can't succeed."""
    try:
        job = server.get(f"/results/export/{quote(export_id, safe='')}")
    except ServerError as error:
        if error.status != 404:
            raise
        return None
    return job if job["status"] in (*_UNFINISHED, "succeeded") else None


def _is_recent(job: Mapping[str, Any]) -> bool:
    return datetime.now(timezone.utc) - parse_timestamp(job["created_at"]) < _MAX_AGE


def _is_equivalent(job: Mapping[str, Any], request: Mapping[str, Any]) -> bool:
    """Return whether the file of the job is the requested one, even if the values are written differently."""
    return _normalize(job) == _normalize(request)


def _normalize(request: Mapping[str, Any]) -> tuple[Any, ...]:
    format_ = EXPORT_FORMATS[request["format"]]
    content = request.get("content") or "results"
    return (
        format_,
        request.get("compression") or format_.default_compression,
        content,
        tuple(request.get("columns") or columns_of(content)),
        request.get("updated_since"),
        bool(request.get("raw")) or not format_.neutralizes_formulas,
        build_filter(ResultFilter, request.get("filter") or {}),
    )


def _finish(
    server: Server, job: JsonObject, target: Path, stream: Output | None, timeout_s: float
) -> JsonObject:  # fmt: skip
    output = stream or FileOutput(target.resolve(), job["id"])  # a link stays, and its file is replaced
    to_continue = f"To continue, run: zof-results export --export-id {job['id']} -o {target}"
    try:
        output.prepare()  # if the same command is interrupted from here on, it continues this job
        job = _wait(server, job, timeout_s)
        if job["status"] in _UNFINISHED:
            raise ServerError(
                f"export {job['id']} is {job['status']} after {timeout_s:g} s. The server finishes it later:"
                f" {server.readiness_url} shows whether a consumer of exports runs. {to_continue}"
            )
        if job["status"] != "succeeded":
            output.discard()
            raise ServerError(f"export {job['id']} is {job['status']}: {job['error'] or 'the server gives no reason'}")
        _download(server, job, output)
    except KeyboardInterrupt:
        print_message(f"interrupted. {to_continue}")
        raise
    output.finish()
    print_message(f"{target}: {job['rows']} rows, {job['size']} bytes, sha256 {job['sha256']}")
    return job


def _wait(server: Server, job: JsonObject, timeout_s: float) -> JsonObject:
    """Return the job after it has ended or the time is over."""
    deadline = time.monotonic() + timeout_s
    with show_progress("exporting", 100) as progress:
        while job["status"] in _UNFINISHED and (remaining_s := deadline - time.monotonic()) > 0:
            progress.set_position(int(100 * (job["progress"] or 0)))
            job = server.get(f"/results/export/{job['id']}", {"wait": str(min(_WAIT_S, ceil(remaining_s)))})
        if job["status"] == "succeeded":
            progress.set_position(100)
    return job


def _download(server: Server, job: JsonObject, output: Output) -> None:
    """Download the rest of the file and check it. After an error, the received bytes stay in a file output."""
    remaining = _MAX_RESUMPTIONS
    with show_progress("downloading", job["size"]) as progress:
        progress.set_position(output.received)
        while remaining and (before := output.received) < job["size"]:
            try:
                _append(server, job, output, progress.set_position)
            except IncompleteResponse:
                if remaining == 1:
                    raise
                progress.set_label("resuming")
                time.sleep(_PAUSE_S)
            remaining = _MAX_RESUMPTIONS if output.received > before else remaining - 1
    if output.sha256() != job["sha256"]:
        output.discard()
        raise ServerError("sha256 mismatch: the downloaded file differs from the file on the server. Try again.")


def _append(server: Server, job: dict[str, Any], output: Output, show: Callable[[int], None]) -> None:
    start = output.received
    headers = {"Accept-Encoding": "identity"}  # a proxy that compresses the file would change the meaning of positions
    if start:
        headers["Range"] = f"bytes={start}-"
    with server.open("GET", f"/results/export/{job['id']}/file", headers=headers) as response:
        resumes = response.status_code == 206
        position = start if resumes else 0
        with output.writing(resumes=resumes) as write:
            for chunk in response.iter_bytes():  # without a chunk size, which would lose the bytes before an error
                write(chunk)
                position += len(chunk)
                show(position)


class FileOutput:
    """A regular file. The received bytes are in a file next to it, which replaces it after the download."""

    def __init__(self, path: Path, export_id: str) -> None:
        self._path = path
        self._part = path.with_name(f"{path.name}.{export_id}.part")

    @property
    def received(self) -> int:
        """The number of bytes that were received, including the bytes of an interrupted command."""
        return self._part.stat().st_size if self._part.exists() else 0

    def prepare(self) -> None:
        """Create the file of the received bytes, by which the same command finds the export again."""
        self._part.touch()

    @contextmanager
    def writing(self, *, resumes: bool) -> Iterator[Write]:
        """Provide a function that writes to the file of the received bytes."""
        with self._part.open("ab" if resumes else "wb") as file:
            yield file.write

    def sha256(self) -> str:
        """Return the SHA-256 of the received bytes, in hexadecimal."""
        digest = hashlib.sha256()
        with self._part.open("rb") as file:
            while chunk := file.read(_CHUNK_BYTES):
                digest.update(chunk)
        return digest.hexdigest()

    def finish(self) -> None:
        """Replace the file at the path."""
        os.replace(self._part, self._path)

    def discard(self) -> None:
        """Delete the received bytes."""
        self._part.unlink()


class StreamOutput:
    """Stdout, a pipe, or a device. The bytes are written directly and can't be removed."""

    def __init__(self, path: Path | None) -> None:
        self._path = path
        self._descriptor: int | None = None if path else _STDOUT
        self._digest = hashlib.sha256()
        self._written = 0

    @property
    def received(self) -> int:
        """The number of bytes that were received and written."""
        return self._written

    def prepare(self) -> None:
        """Do nothing: an interrupted stream can't be continued."""

    @contextmanager
    def writing(self, *, resumes: bool) -> Iterator[Write]:
        """Provide a function that writes to the stream. Raises ServerError if the server can't resume the download."""
        if self._written and not resumes:
            raise ServerError("the server can't resume the download, and a part of the file is already written")
        if self._descriptor is None and self._path is not None:
            self._descriptor = os.open(self._path, os.O_WRONLY)
        yield self._write

    def _write(self, chunk: bytes) -> None:
        self._digest.update(chunk)
        self._written += len(chunk)
        remaining = memoryview(chunk)
        while remaining and self._descriptor is not None:
            remaining = remaining[os.write(self._descriptor, remaining) :]

    def sha256(self) -> str:
        """Return the SHA-256 of the written bytes, in hexadecimal."""
        return self._digest.hexdigest()

    def finish(self) -> None:
        """Close the pipe or device."""
        if self._path is not None and self._descriptor is not None:
            os.close(self._descriptor)

    def discard(self) -> None:
        """Do nothing: the bytes are already written."""


def find_stream(target: Path) -> StreamOutput | None:
    """Return the stream at the path, which `-` names too, or None for a regular or a new file."""
    if str(target) == "-":
        return StreamOutput(None)
    if not target.exists():
        return None
    if _is_stdout(target):
        return StreamOutput(None)
    return None if target.is_file() else StreamOutput(target)


def _is_stdout(target: Path) -> bool:
    """Return whether the path leads to the stdout of this process, which can also be a redirection to a file."""
    return os.path.samestat(target.stat(), os.fstat(_STDOUT))
