"""Downloads that end early: only a failure of the storage is logged."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import pytest
from aiohttp import ClientError, ClientSession, web
from structlog.testing import capture_logs

from service.http.downloads import Download, send_file
from service.http.responses import REQUEST_ID

PART = b"x" * 2**16
FILE = Download("exports/file", "file.bin", "application/octet-stream", 1000 * len(PART), None)


class FailingStorage:
    """A storage that sends the file in parts, and fails after some of them."""

    def __init__(self, parts: int) -> None:
        self.parts = parts
        self.ended = asyncio.Event()

    async def read(self, *_: object) -> AsyncIterator[bytes]:
        return self._read()

    async def _read(self) -> AsyncIterator[bytes]:
        for _ in range(self.parts):
            yield PART
        raise OSError("disk error")


@asynccontextmanager
async def downloading(storage: Any) -> AsyncIterator[str]:
    async def handle(request: web.Request) -> web.StreamResponse:
        request[REQUEST_ID] = "req_1"
        try:
            return await send_file(request, storage, FILE)
        finally:
            storage.ended.set()

    app = web.Application()
    app.router.add_get("/", handle)
    runner = web.AppRunner(app)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    try:
        yield f"http://127.0.0.1:{runner.addresses[0][1]}/"
    finally:
        await runner.cleanup()


async def test_client_that_leaves_is_no_failure() -> None:
    storage = FailingStorage(1000)
    with capture_logs() as logs:
        async with downloading(storage) as url, ClientSession() as client:
            response = await client.get(url)
            await response.content.readexactly(10)
            response.close()
            await asyncio.wait_for(storage.ended.wait(), 10)
    assert logs == []


async def test_failure_of_the_storage_is_logged_and_aborts_the_connection() -> None:
    with capture_logs() as logs:
        async with downloading(FailingStorage(3)) as url, ClientSession() as client:
            with pytest.raises(ClientError):
                async with client.get(url) as response:
                    await response.read()
    assert [(line["event"], line["error"]) for line in logs] == [("download_aborted", "OSError('disk error')")]
