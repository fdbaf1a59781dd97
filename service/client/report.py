"""The upload of reports from a CI job, compressed, with the state of their receipts."""

import gzip
import shutil
from collections.abc import Iterator, Mapping, Sequence
from glob import glob, has_magic
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, Final
from urllib.parse import quote

import click

from service.client.http import ClientError, Server, open_server, read_json
from service.client.terminal import Progress, show_progress
from service.domain.report_formats import media_type_of

STORED: Final = 0
REJECTED: Final = 1

_RETRY_S: Final = 60
_WAIT_S: Final = 20  # of one request
_CHUNK_BYTES: Final = 2**18
_MAX_SHOWN: Final = 50  # problems of one report
_UNFINISHED: Final = ("queued", "processing")
_UNKNOWN_TYPE: Final = "application/octet-stream"  # the server detects the format

ReportFields = Sequence[tuple[str, str]]


class _FileBody:
    """A file as a request body, which can be sent again from its start."""

    def __init__(self, path: Path, progress: Progress) -> None:
        self._path = path
        self._progress = progress

    def __iter__(self) -> Iterator[bytes]:
        sent = 0
        with self._path.open("rb") as file:
            while chunk := file.read(_CHUNK_BYTES):
                yield chunk
                sent += len(chunk)
                self._progress.set_position(sent)


def report(url: str, key: str, run_id: str, patterns: Sequence[str], fields: ReportFields, *, wait: bool) -> int:
    """Upload the files as parts of the run and return the exit code. Raises ClientError."""
    files = _expand(patterns)
    with open_server(url, key, retry_s=_RETRY_S) as server:
        receipts = _upload_all(server, run_id, files, fields)
        if wait:
            receipts = [_wait(server, receipt) for receipt in receipts]
    for file, receipt in zip(files, receipts, strict=True):
        _print_receipt(file, receipt)
    return REJECTED if any(receipt["status"] == "rejected" for receipt in receipts) else STORED


def _expand(patterns: Sequence[str]) -> list[Path]:
    """Return the matching files without duplicates. Raises ClientError if a pattern has no match or a file is empty."""
    files: dict[Path, None] = {}
    for pattern in patterns:
        names = sorted(glob(pattern, recursive=True)) if has_magic(pattern) else [pattern]
        matches = [path for path in map(Path, names) if path.is_file()]
        if not matches:
            raise ClientError(f"file not found: {pattern}")
        files |= dict.fromkeys(matches)
    for file in files:
        if file.stat().st_size == 0:
            raise ClientError(f"{file} is empty")
    return list(files)


def _upload_all(server: Server, run_id: str, files: Sequence[Path], fields: ReportFields) -> list[dict[str, Any]]:
    """Upload the files one after another. Several files are shards: the run is complete after the last one."""
    if len(files) > 1 and "shard" in dict(fields):
        raise ClientError("--shard: requires a single file, because several files are shards themselves")
    receipts = []
    with TemporaryDirectory(prefix="zof-results-") as folder:
        for number, file in enumerate(files, start=1):
            shard = [("shard", f"{number}/{len(files)}")] if len(files) > 1 else []
            compressed = _compress(file, Path(folder) / "report.gz")
            receipts.append(_upload(server, run_id, file, compressed, [*fields, *shard]))
    return receipts


def _upload(server: Server, run_id: str, file: Path, compressed: Path, params: ReportFields) -> dict[str, Any]:
    """Upload one file. Its receipt is identified by its content, so that a repeated upload returns the same receipt."""
    size = compressed.stat().st_size
    headers = {
        "Content-Type": media_type_of(file.name) or _UNKNOWN_TYPE,
        "Content-Encoding": "gzip",
        "Content-Length": str(size),
    }
    path = f"/runs/{quote(run_id, safe='')}/report"
    with show_progress(file.name, size) as progress:
        body = _FileBody(compressed, progress)
        with server.open("POST", path, content=body, params=params, headers=headers) as response:
            receipt: dict[str, Any] = read_json(response)
    return receipt


def _compress(source: Path, target: Path) -> Path:
    """Compress without a timestamp: the same file has the same bytes and therefore the same receipt."""
    with source.open("rb") as plain, target.open("wb") as file, gzip.GzipFile("", "wb", 6, file, mtime=0) as compressed:
        shutil.copyfileobj(plain, compressed, _CHUNK_BYTES)
    return target


def _wait(server: Server, receipt: dict[str, Any]) -> dict[str, Any]:
    """Return the receipt after it is finished."""
    while receipt["status"] in _UNFINISHED:
        receipt = server.get(f"/receipts/{receipt['id']}", {"wait": str(_WAIT_S)})
    return receipt


def _print_receipt(file: Path, receipt: Mapping[str, Any]) -> None:
    results = "1 result" if receipt["results"] == 1 else f"{receipt['results']} results"
    count = "" if receipt["status"] in _UNFINISHED else f", {results}"
    click.echo(f"{file}: {receipt['status']}{count} ({receipt['id']})")
    for problem in receipt["problems"][:_MAX_SHOWN]:
        result = "" if problem["index"] is None else f"result {problem['index']} {problem['name'] or ''}: "
        click.echo(f"  {result}{problem['reason']}")
    if len(receipt["problems"]) > _MAX_SHOWN:
        click.echo(f"  and {len(receipt['problems']) - _MAX_SHOWN} more")
