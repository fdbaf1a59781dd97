"""Bulk exports: requests one, waits for it, downloads its file with resumption, and checks the SHA-256."""

import glob
import time
from collections.abc import Callable, Mapping
from datetime import datetime, timedelta, timezone
from math import ceil
from pathlib import Path
from typing import Any, Final
from urllib.parse import quote

from service.client.http import IncompleteResponse, JsonObject, Server, ServerError
from service.client.outputs import FileOutput, Output, find_stream
from service.client.runs import run_path
from service.client.servers import ServerKey, check_project, open_server
from service.client.terminal import print_message, show_progress
from service.domain.export_columns import columns_of
from service.domain.exports import EXPORT_FORMATS
from service.domain.filters import ResultFilter, build_filter
from service.domain.timestamps import parse_timestamp

_RETRY_S: Final = 60
_WAIT_S: Final = 2  # of one request; also the interval of updates of the progress bar
_MAX_RESUMPTIONS: Final = 10  # consecutive attempts that receive no data
_PAUSE_S: Final = 1.0
_MAX_AGE: Final = timedelta(hours=1)  # a repeated command after this time needs current results
_UNFINISHED: Final = ("queued", "running")


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
