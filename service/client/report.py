"""Sends reports from a CI job: packed, with a bar for the patient, and with what became of them for those who wait."""

import asyncio
import gzip
import shutil
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from glob import glob, has_magic
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, Final
from urllib.parse import quote

from rich.console import Console
from rich.progress import BarColumn, DownloadColumn, Progress, TextColumn, TransferSpeedColumn

from service.client.http import Server, ServerError, open_server
from service.client.terminal import console
from service.domain.report_formats import media_type_of

STORED: Final = 0
REJECTED: Final = 1

_WAIT_S: Final = 20  # of one request
_CHUNK_BYTES: Final = 2**18
_SHOWN: Final = 50  # problems of one report
_OPEN: Final = ("queued", "processing")
_BY_ITS_BYTES: Final = "application/octet-stream"

Fields = Sequence[tuple[str, str]]


class _Body:
    """A file as a request's body, from the start each time it is sent."""

    def __init__(self, path: Path, show: Callable[[int], None]) -> None:
        self._path = path
        self._show = show

    async def __aiter__(self) -> AsyncIterator[bytes]:
        sent = 0
        with self._path.open("rb") as file:
            while chunk := await asyncio.to_thread(file.read, _CHUNK_BYTES):
                yield chunk
                sent += len(chunk)
                self._show(sent)


async def report(url: str, key: str, run_id: str, patterns: Sequence[str], fields: Fields, *, wait: bool) -> int:
    """Sends every file as a part of the run; returns the exit code. Raises ServerError where that can't be done."""
    files = _expand(patterns)
    out = console()
    async with open_server(url, key, patience_s=60) as server:
        receipts = await _send_all(server, run_id, files, fields)
        if wait:
            receipts = [await _settled(server, receipt) for receipt in receipts]
    for file, receipt in zip(files, receipts, strict=True):
        _print(out, file, receipt)
    return REJECTED if any(receipt["status"] == "rejected" for receipt in receipts) else STORED


def _expand(patterns: Sequence[str]) -> list[Path]:
    """The files that are named and those that patterns match, each once, in order. Raises ServerError for none."""
    files: dict[Path, None] = {}
    for pattern in patterns:
        found = sorted(glob(pattern, recursive=True)) if has_magic(pattern) else [pattern]
        files |= dict.fromkeys(path for path in map(Path, found) if path.is_file())
        if not any(Path(name).is_file() for name in found):
            raise ServerError(f"there is no file {pattern}")
    for file in files:
        if file.stat().st_size == 0:
            raise ServerError(f"{file} is empty")
    return list(files)


async def _send_all(server: Server, run_id: str, files: Sequence[Path], fields: Fields) -> list[dict[str, Any]]:
    """One after the other. Several files are shards of the run, which is complete with the last of them."""
    if len(files) > 1 and "shard" in dict(fields):
        raise ServerError("with a shard goes one file: several files are shards themselves")
    err = console(stderr=True)
    bar = Progress(
        TextColumn("{task.description}"), BarColumn(), DownloadColumn(), TransferSpeedColumn(),
        console=err, transient=True, disable=not err.is_terminal,
    )  # fmt: skip
    receipts = []
    with TemporaryDirectory(prefix="zof-results-") as folder, bar:
        for number, file in enumerate(files, start=1):
            shard = [("shard", f"{number}/{len(files)}")] if len(files) > 1 else []
            packed = await asyncio.to_thread(_pack, file, Path(folder) / "packed")
            receipts.append(await _send(server, run_id, file, packed, [*fields, *shard], bar))
    return receipts


async def _send(server: Server, run_id: str, file: Path, packed: Path, query: Fields, bar: Progress) -> dict[str, Any]:
    size = (await asyncio.to_thread(packed.stat)).st_size
    task = bar.add_task(file.name, total=size)
    headers = {
        "Content-Type": media_type_of(file.name) or _BY_ITS_BYTES,
        "Content-Encoding": "gzip",
        "Content-Length": str(size),
    }
    body = _Body(packed, lambda sent: bar.update(task, completed=sent))
    path = f"/runs/{quote(run_id, safe='')}/report"
    async with server.open("POST", path, data=body, params=query, headers=headers) as response:
        receipt: dict[str, Any] = await response.json()
    return receipt


def _pack(source: Path, target: Path) -> Path:
    """Without a time in it, so that the same file is the same report however often it is sent."""
    with source.open("rb") as plain, target.open("wb") as file, gzip.GzipFile("", "wb", 6, file, mtime=0) as packed:
        shutil.copyfileobj(plain, packed, _CHUNK_BYTES)
    return target


async def _settled(server: Server, receipt: dict[str, Any]) -> dict[str, Any]:
    """The receipt once nothing more becomes of it."""
    while receipt["status"] in _OPEN:
        receipt = await server.get(f"/receipts/{receipt['id']}", {"wait": str(_WAIT_S)})
    return receipt


def _print(out: Console, file: Path, receipt: Mapping[str, Any]) -> None:
    results = "1 result" if receipt["results"] == 1 else f"{receipt['results']} results"
    counted = "" if receipt["status"] in _OPEN else f", {results}"
    out.print(f"{file}: {receipt['status']}{counted} ({receipt['id']})")
    for problem in receipt["problems"][:_SHOWN]:
        where = "" if problem["index"] is None else f"result {problem['index']} {problem['name'] or ''}: "
        out.print(f"  {where}{problem['reason']}")
    if len(receipt["problems"]) > _SHOWN:
        out.print(f"  and {len(receipt['problems']) - _SHOWN} more")
