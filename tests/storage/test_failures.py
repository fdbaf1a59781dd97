"""What a storage can't do is said in words that people understand, whatever goes wrong beside it."""

import asyncio
import shutil
import subprocess
import sys
from collections.abc import Awaitable, Callable
from pathlib import Path

import pytest
from aiohttp import web
from aiohttp.test_utils import TestServer

from service.domain.errors import Unavailable
from service.storage import Storage
from tests.buckets import credentials, new_bucket
from tests.storing import write

PATH = "exports/7/exp_1.csv"
PART = bytes(8 * 2**20)
MOUNT = "mount -t tmpfs -o size=1m,$OPTIONS none $FOLDER && exec $PYTHON -m tests.storage.failing_folder $FOLDER"

Answer = Callable[[web.Request], Awaitable[web.Response]]


async def serve_s3(monkeypatch: pytest.MonkeyPatch, answer: Answer) -> TestServer:
    app = web.Application(client_max_size=2**30)
    app.router.add_route("*", "/{path:.*}", answer)
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
async def test_the_refusal_of_a_bucket_is_named(
    monkeypatch: pytest.MonkeyPatch, status: int, code: str, reason: str
) -> None:
    async def refuse(_: web.Request) -> web.Response:
        return web.Response(status=status, text=f"<Error><Code>{code}</Code></Error>", content_type="application/xml")

    server = await serve_s3(monkeypatch, refuse)
    with pytest.raises(Unavailable, match=reason):
        await write(Storage("s3://bucket"), PATH, b"x")
    await server.close()


async def test_a_missing_bucket_is_no_missing_file(s3_url: str) -> None:
    with pytest.raises(Unavailable, match="does not exist"):
        await write(Storage(f"{new_bucket(s3_url).partition('/some')[0]}x"), PATH, b"x")


async def test_a_bucket_that_goes_away_in_the_middle_is_unavailable_though_its_parts_stay(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    down = asyncio.Event()

    async def take(request: web.Request) -> web.Response:
        await request.read()
        if down.is_set() and request.transport:
            request.transport.abort()
        begun = "<InitiateMultipartUploadResult><UploadId>1</UploadId></InitiateMultipartUploadResult>"
        return web.Response(text=begun, content_type="application/xml", headers={"ETag": '"1"'})

    async def break_off() -> None:
        async with Storage("s3://bucket").open_writer(PATH) as file:
            await file.write(PART)
            await file.write(PART)
            down.set()
            for _ in range(8):
                await file.write(PART)

    server = await serve_s3(monkeypatch, take)
    with pytest.raises(Unavailable, match="does not respond") as raised:
        await break_off()
    assert "was not deleted" in raised.value.__notes__[0]
    await server.close()


@pytest.mark.parametrize(("options", "reason"), [("rw", "is full"), ("ro", "denies access")])
def test_the_refusal_of_a_folder_is_named_and_nothing_is_left(tmp_path: Path, options: str, reason: str) -> None:
    """On a file system of its own, which is gone with the process that sees it."""
    alone = ["unshare", "--user", "--map-root-user", "--mount"]
    mounting = [*alone, "mount", "-t", "tmpfs", "none", str(tmp_path)]
    if shutil.which("unshare") is None or subprocess.run(mounting, check=False, stderr=subprocess.DEVNULL).returncode:
        pytest.skip("nothing may be mounted here")
    environment = {"OPTIONS": options, "FOLDER": str(tmp_path), "PYTHON": sys.executable, "PATH": "/usr/sbin:/usr/bin"}
    said = subprocess.run([*alone, "sh", "-c", MOUNT], env=environment, check=True, stdout=subprocess.PIPE).stdout
    assert said.decode() == f"the file storage {reason}; left: []\n"
