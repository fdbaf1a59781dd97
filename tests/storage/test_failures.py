"""Storage errors: each has a readable reason."""

import asyncio
import shutil
import subprocess
import sys
from collections.abc import Awaitable, Callable
from datetime import timedelta
from pathlib import Path

import pytest
from aiohttp import web
from aiohttp.test_utils import TestServer

from service.domain.errors import NotFound, Unavailable
from service.storage import Storage
from tests.buckets import credentials, delete_bucket, new_bucket
from tests.storing import write

PATH = "exports/7/exp_1.csv"
PART = bytes(8 * 2**20)
MOUNT = "mount -t tmpfs -o size=1m,$OPTIONS none $FOLDER && exec $PYTHON -m tests.storage.failing_folder $FOLDER"

S3Handler = Callable[[web.Request], Awaitable[web.Response]]


async def serve_s3(monkeypatch: pytest.MonkeyPatch, handler: S3Handler) -> TestServer:
    app = web.Application(client_max_size=2**30)
    app.router.add_route("*", "/{path:.*}", handler)
    server = TestServer(app)
    await server.start_server()
    for name, value in credentials(str(server.make_url("")).rstrip("/")).items():
        monkeypatch.setenv(name, value)
    return server


@pytest.mark.parametrize(
    ("status", "code", "reason"),
    [
        (403, "AccessDenied", "denies access"),
        (403, "QuotaExceeded", "is full"),
        (404, "NoSuchBucket", "does not exist"),
        (507, "XMinioStorageFull", "is full"),
    ],
)
async def test_rejection_by_a_bucket_has_its_reason(
    monkeypatch: pytest.MonkeyPatch, status: int, code: str, reason: str
) -> None:
    async def reject(_: web.Request) -> web.Response:
        return web.Response(status=status, text=f"<Error><Code>{code}</Code></Error>", content_type="application/xml")

    server = await serve_s3(monkeypatch, reject)
    with pytest.raises(Unavailable, match=reason):
        await write(Storage("s3://bucket"), PATH, b"x")
    await server.close()


OPERATIONS: dict[str, Callable[[Storage], Awaitable[object]]] = {
    "write": lambda storage: write(storage, PATH, b"x"),
    "read": lambda storage: storage.read(PATH),
    "read nothing": lambda storage: storage.read(PATH, 0, 0),
    "size": lambda storage: storage.size(PATH),
    "presign": lambda storage: storage.presign(PATH, timedelta(minutes=1)),
    "delete": lambda storage: storage.delete(PATH),
    "check": lambda storage: storage.check(),
}


@pytest.mark.parametrize("operation", OPERATIONS.values(), ids=OPERATIONS)
async def test_missing_bucket_is_unavailable_not_a_missing_file(
    s3_url: str, operation: Callable[[Storage], Awaitable[object]]
) -> None:
    url = new_bucket(s3_url)
    delete_bucket(s3_url, url)
    with pytest.raises(Unavailable, match="the bucket of the file storage does not exist"):
        await operation(Storage(url))


@pytest.mark.parametrize("name", ["read", "size", "presign"])
async def test_missing_file_in_an_existing_bucket_is_not_found(s3_url: str, name: str) -> None:
    with pytest.raises(NotFound, match="no longer in storage"):
        await OPERATIONS[name](Storage(new_bucket(s3_url)))


async def test_bucket_that_fails_during_a_write_is_unavailable(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    down = asyncio.Event()

    async def accept(request: web.Request) -> web.Response:
        await request.read()
        if down.is_set() and request.transport:
            request.transport.abort()
        begun = "<InitiateMultipartUploadResult><UploadId>1</UploadId></InitiateMultipartUploadResult>"
        return web.Response(text=begun, content_type="application/xml", headers={"ETag": '"1"'})

    async def write_until_failure() -> None:
        async with Storage("s3://bucket").open_writer(PATH) as file:
            await file.write(PART)
            await file.write(PART)
            down.set()
            for _ in range(8):
                await file.write(PART)

    server = await serve_s3(monkeypatch, accept)
    with pytest.raises(Unavailable, match="does not respond") as raised:
        await write_until_failure()
    assert "was not deleted" in raised.value.__notes__[0]
    await server.close()


@pytest.mark.parametrize(("options", "reason"), [("rw", "is full"), ("ro", "denies access")])
def test_rejection_by_a_folder_has_its_reason_and_leaves_no_file(tmp_path: Path, options: str, reason: str) -> None:
    """Use a mount namespace, which disappears with its process."""
    isolated = ["unshare", "--user", "--map-root-user", "--mount"]
    mounting = [*isolated, "mount", "-t", "tmpfs", "none", str(tmp_path)]
    if shutil.which("unshare") is None or subprocess.run(mounting, check=False, stderr=subprocess.DEVNULL).returncode:
        pytest.skip("mounting a file system is not permitted")
    environment = {"OPTIONS": options, "FOLDER": str(tmp_path), "PYTHON": sys.executable, "PATH": "/usr/sbin:/usr/bin"}
    output = subprocess.run([*isolated, "sh", "-c", MOUNT], env=environment, check=True, stdout=subprocess.PIPE).stdout
    assert output.decode() == f"the file storage {reason}; remaining: []\n"
