"""Bulk exports from a terminal: asks for one, waits for it, fetches its file and checks every byte."""

import asyncio
import glob
import hashlib
import os
from collections.abc import Callable, Mapping
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, Final
from urllib.parse import quote
from uuid import uuid4

from rich.console import Console
from rich.progress import BarColumn, Progress, TaskProgressColumn, TextColumn

from service.client.http import BrokenAnswer, Server, ServerError, open_server
from service.client.terminal import console
from service.contracts.exports import ExportRequest

_WAIT_S: Final = 2  # of one request: how often the bar moves; the end of the job ends the wait
_CHUNK_BYTES: Final = 2**18
_RESUMES: Final = 10  # in a row that bring nothing
_PAUSE_S: Final = 1.0
_FRESH: Final = timedelta(hours=1)  # longer ago, who asks again wants the results of now
_OPEN: Final = ("queued", "running")


async def export(url: str, key: str, request: Mapping[str, Any], target: Path) -> None:
    """Makes an export and stores its file as `target`. Raises ServerError where that can't be done."""
    async with open_server(url, key, patience_s=60) as server:
        job = await _left(server, request, target) or await _ask(server, request)
        await _finish(server, job, target)


async def fetch(url: str, key: str, export_id: str, target: Path) -> None:
    """Stores the file of an export that was asked for before; what an earlier try has fetched is kept."""
    async with open_server(url, key, patience_s=60) as server:
        await _finish(server, await server.get(f"/results/export/{quote(export_id, safe='')}"), target)


async def _ask(server: Server, request: Mapping[str, Any]) -> Any:
    headers = {"Idempotency-Key": uuid4().hex}
    async with server.open("POST", "/results/export", json=request, headers=headers) as response:
        return await response.json()


async def _left(server: Server, request: Mapping[str, Any], target: Path) -> Any:
    """The same export, where it was interrupted lately; what is left of others is of no more use."""
    for part in target.parent.glob(f"{glob.escape(target.name)}.exp_*.part"):
        job = await _find(server, part.suffixes[-2].removeprefix("."))
        if job and _is_fresh(job) and _is_for(job, request):
            console(stderr=True).print(f"going on with {job['id']}, which was interrupted; delete {part} to begin anew")
            return job
        _discard(part)
    return None


async def _find(server: Server, export_id: str) -> Any:
    """The job, or None where there is none that could still end well."""
    try:
        job = await server.get(f"/results/export/{quote(export_id, safe='')}")
    except ServerError as error:
        if error.status != 404:
            raise
        return None
    return job if job["status"] in (*_OPEN, "succeeded") else None


def _is_fresh(job: Mapping[str, Any]) -> bool:
    return datetime.now(UTC) - datetime.fromisoformat(job["created_at"]) < _FRESH


def _is_for(job: Mapping[str, Any], request: Mapping[str, Any]) -> bool:
    """Whether the job does what is asked for, in whatever words."""
    told = {name: job[name] for name in ExportRequest.model_fields if job[name] is not None}
    return bool(ExportRequest.model_validate(told).to_document() == ExportRequest.model_validate(request).to_document())


async def _finish(server: Server, job: dict[str, Any], target: Path) -> None:
    err = console(stderr=True)
    try:
        with _progress(err) as progress:
            part = target.with_name(f"{target.name}.{job['id']}.part")
            part.touch()  # so that the same command, interrupted from here on, goes on with this job
            job = await _wait(server, job, progress)
            await _download(server, job, part, progress)
    except asyncio.CancelledError:
        err.print(f"interrupted; `zof-results export --export-id {job['id']} -o {target}` goes on from here")
        raise
    os.replace(part, target)
    err.print(f"{target}: {job['rows']} rows, {job['size']} bytes, sha256 {job['sha256']}")


def _progress(err: Console) -> Progress:
    return Progress(
        TextColumn("{task.description}"), BarColumn(), TaskProgressColumn(), TextColumn("{task.fields[detail]}"),
        console=err, disable=not err.is_terminal,
    )  # fmt: skip


async def _wait(server: Server, job: dict[str, Any], progress: Progress) -> dict[str, Any]:
    """The job once it has succeeded. Raises ServerError where it ended otherwise."""
    bar = progress.add_task("exporting", total=1.0, detail=job["id"])
    while job["status"] in _OPEN:
        progress.update(bar, completed=job["progress"] or 0.0, detail=job["status"])
        job = await server.get(f"/results/export/{job['id']}", {"wait": str(_WAIT_S)})
    if job["status"] != "succeeded":
        raise ServerError(f"the export {job['id']} is {job['status']}: {job['error'] or 'no reason given'}")
    progress.update(bar, completed=1.0, detail=f"{job['rows']} rows")
    return job


async def _download(server: Server, job: dict[str, Any], part: Path, progress: Progress) -> None:
    """Fetches what is missing, from where it broke off, and checks the whole. What came so far is kept."""
    bar = progress.add_task("fetching", total=job["size"], detail="")
    left = _RESUMES
    while left and (before := _size(part)) < job["size"]:
        try:
            await _append(server, job, part, lambda size: progress.update(bar, completed=size))
        except BrokenAnswer:
            if left == 1:
                raise
            progress.update(bar, detail="resuming")
            await asyncio.sleep(_PAUSE_S)
        left = _RESUMES if _size(part) > before else left - 1
    if await asyncio.to_thread(_sha256, part) != job["sha256"]:
        _discard(part)
        raise ServerError("what arrived is not what the server made: the sha256 differs")


async def _append(server: Server, job: dict[str, Any], part: Path, show: Callable[[int], None]) -> None:
    start = _size(part)
    headers = {"Range": f"bytes={start}-"} if start else {}
    async with server.open("GET", f"/results/export/{job['id']}/file", headers=headers) as response:
        with part.open("ab" if response.status == 206 else "wb") as file:
            async for chunk in response.content.iter_chunked(_CHUNK_BYTES):
                file.write(chunk)
                show(file.tell())


def _size(part: Path) -> int:
    return part.stat().st_size if part.exists() else 0


def _discard(part: Path) -> None:
    part.unlink(missing_ok=True)


def _sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
