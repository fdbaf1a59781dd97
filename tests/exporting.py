"""An API and an export worker with one database and one storage."""

import asyncio
import gzip
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import timedelta
from functools import partial
from pathlib import Path
from typing import Any

import zstandard

from consumers.tasks import TaskRunner
from service.database import database
from service.exports.contract import ExportRequest, StoredExport
from service.exports.model import ExportSpec
from service.exports.readers import ReadStrategy
from service.exports.run_export import Exporter
from service.exports.write_export import ExportWriter
from service.processes import open_storage
from service.settings import Settings
from service.storage import Storage
from tests.running import TIMEOUT_S, running
from tests.served import Api, serve

STRATEGY = ReadStrategy(readers=2, range_results=7, buffered_chunks=2)  # small exports have many ranges
FINISHED = {"succeeded", "failed", "canceled", "expired"}


def export_spec(request: Mapping[str, Any], changed_after: int | None = None) -> ExportSpec:
    """Return the content and format of the file for an API request."""
    document = ExportRequest.model_validate(request).to_document() | {"changed_after": changed_after}
    return StoredExport.of_document(document).to_spec()


@dataclass
class Exports:
    """The operations of a user on exports."""

    api: Api
    storage: Storage
    exporter: Exporter
    slots: int = 2

    async def request(self, format: str = "csv", status: int = 202, key: str | None = None, **fields: Any) -> Any:  # noqa: A002
        response = await self.api.send("POST", "/v1/results/export", key=key, json={"format": format, **fields})
        body = await response.json()
        assert response.status == status, body
        return body

    async def job(self, export_id: str) -> Any:
        return await self.api.get(f"/v1/results/export/{export_id}")

    async def finished(self, export_id: str, *, or_failed: bool = False) -> Any:
        """Wait until the job is finished, or optionally until an attempt has failed, and return the job."""
        async with asyncio.timeout(TIMEOUT_S):
            while (job := await self.job(export_id))["status"] not in FINISHED and not (or_failed and job["error"]):  # noqa: ASYNC110 - HTTP sets no event
                await asyncio.sleep(0.05)  # each request takes 10 ms of CPU
        return job

    async def run(self, format: str = "csv", **fields: Any) -> Any:  # noqa: A002
        """Request an export, run a worker, and return the succeeded job."""
        queued = await self.request(format, **fields)
        async with self.running_worker():
            job = await self.finished(queued["id"], or_failed=True)
        assert job["status"] == "succeeded", job
        return job

    async def file(self, job: Mapping[str, Any]) -> bytes:
        response = await self.api.send("GET", f"/v1/results/export/{job['id']}/file")
        assert response.status in (200, 206), await response.text()
        return await response.read()

    async def content(self, job: Mapping[str, Any]) -> bytes:
        """Return the decompressed file."""
        data = await self.file(job)
        if job["compression"] == "gzip":
            return gzip.decompress(data)
        return zstandard.ZstdDecompressor().decompressobj().decompress(data) if job["compression"] == "zstd" else data

    @asynccontextmanager
    async def running_worker(self) -> AsyncIterator[None]:
        """Run a worker and stop it in the same way as SIGTERM."""
        stopping = asyncio.Event()
        runner = TaskRunner("exports", partial(self.exporter.lease, 2), self.exporter.run, self.slots, stopping)
        async with running(stopping, runner.run()):
            yield


@asynccontextmanager
async def exporting(database_url: str, storage_url: str, **settings: Any) -> AsyncIterator[Exports]:
    async with serve(database_url, artifacts_url=storage_url, **settings) as api:
        rows = await database.open_pool(database_url, "results_api", 4)
        storage = open_storage(Settings(artifacts_url=storage_url))
        try:
            yield Exports(
                api,
                storage,
                Exporter(
                    api.store.pool,
                    ExportWriter(rows, database_url, STRATEGY),
                    storage,
                    "http://results.test",
                    takeover_after=timedelta(0),
                ),
            )
        finally:
            await database.close_pool(rows)


def files(exports: Exports, tmp_path: Path) -> list[Path]:
    return [path for path in (tmp_path / "files").rglob("*") if path.is_file()]


class Blocked:
    """A storage that blocks the completion of files until `release` is set."""

    def __init__(self, storage: Storage) -> None:
        self._storage = storage
        self.waiting = asyncio.Event()
        self.release = asyncio.Event()

    def __getattr__(self, name: str) -> Any:
        return getattr(self._storage, name)

    def open_writer(self, *arguments: Any) -> Any:
        return _Blocked(self, self._storage.open_writer(*arguments))


class _Blocked:
    def __init__(self, gate: Blocked, opening: Any) -> None:
        self._gate = gate
        self._writing = opening

    async def __aenter__(self) -> Any:
        return await self._writing.__aenter__()

    async def __aexit__(self, *error: Any) -> Any:
        if error[0] is None:
            self._gate.waiting.set()
            try:
                await self._gate.release.wait()
            except asyncio.CancelledError as canceled:
                await self._writing.__aexit__(type(canceled), canceled, None)
                raise
        return await self._writing.__aexit__(*error)
