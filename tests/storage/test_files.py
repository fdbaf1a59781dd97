"""Stored files: unchanged, visible only when complete, with the same behavior in a folder and in S3."""

import os
from datetime import timedelta
from hashlib import sha256
from pathlib import Path

import pytest
from aiohttp import ClientSession

from service.domain.errors import NotFound, Unavailable
from service.domain.ids import OrgId
from service.storage import Storage, belongs_to, stored_path
from tests.buckets import new_bucket
from tests.storing import read, write

PATH = stored_path("exports", OrgId(7), "exp_1.csv")
BIG = os.urandom(1_000_003) * 21  # several parts of an upload


@pytest.fixture
def storage(storage_url: str) -> Storage:
    return Storage(storage_url)


async def test_large_file_is_read_back_with_its_size_and_sha256(storage: Storage) -> None:
    async with storage.open_writer(PATH) as file:
        for offset in range(0, len(BIG), 100_000):
            await file.write(BIG[offset : offset + 100_000])
    assert (file.size, file.sha256) == (len(BIG), sha256(BIG).digest())
    assert await storage.size(PATH) == len(BIG)
    assert await read(storage, PATH) == BIG


@pytest.mark.parametrize(("start", "end"), [(0, 1), (5, 100), (999_990, None), (3, 3), (0, None)])
async def test_range_returns_exactly_its_bytes(storage: Storage, start: int, end: int | None) -> None:
    data = BIG[:1_000_000]
    await write(storage, PATH, data)
    assert await read(storage, PATH, start, end) == data[start:end]


async def test_empty_file_exists(storage: Storage) -> None:
    await write(storage, PATH, b"")
    assert await storage.size(PATH) == 0
    assert await read(storage, PATH) == b""


async def test_file_is_not_visible_before_it_is_complete(storage: Storage) -> None:
    async with storage.open_writer(PATH) as file:
        await file.write(BIG)
        with pytest.raises(NotFound):
            await storage.size(PATH)
    assert await storage.size(PATH) == len(BIG)


async def test_failed_write_leaves_no_file_and_raises_its_error(storage: Storage) -> None:
    async def write_and_fail() -> None:
        async with storage.open_writer(PATH) as file:
            await file.write(BIG)
            raise ConnectionResetError("an error outside of the storage")

    with pytest.raises(ConnectionResetError):
        await write_and_fail()
    with pytest.raises(NotFound):
        await storage.size(PATH)


async def test_deleted_file_can_be_deleted_again(storage: Storage) -> None:
    await write(storage, PATH, b"x")
    await storage.delete(PATH)
    await storage.delete(PATH)
    with pytest.raises(NotFound):
        await storage.read(PATH)


async def test_presigned_url_returns_the_file_and_its_name(s3_url: str) -> None:
    storage = Storage(new_bucket(s3_url))
    async with storage.open_writer(PATH, "text/csv", "results.csv") as file:
        await file.write(b"a,b\n")
    url = await storage.presign(PATH, timedelta(minutes=1))
    assert url is not None
    async with ClientSession() as session, session.get(url) as response:
        assert await response.read() == b"a,b\n"
        assert response.headers["Content-Type"] == "text/csv"
        disposition = response.headers["Content-Disposition"]
        assert disposition == "attachment; filename=\"results.csv\"; filename*=UTF-8''results.csv"


async def test_missing_file_has_no_presigned_url(s3_url: str) -> None:
    with pytest.raises(NotFound, match="no longer in storage"):
        await Storage(new_bucket(s3_url)).presign(PATH, timedelta(minutes=1))


async def test_local_file_has_no_presigned_url(tmp_path: Path) -> None:
    assert await Storage(tmp_path.as_uri()).presign(PATH, timedelta(minutes=1)) is None


async def test_storage_that_does_not_respond_is_unavailable(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
        monkeypatch.setenv(name, "test")
    monkeypatch.setenv("AWS_ENDPOINT_URL", "http://127.0.0.1:9")
    monkeypatch.setenv("AWS_ALLOW_HTTP", "true")
    with pytest.raises(Unavailable, match="does not respond"):
        await Storage("s3://bucket").size(PATH)


async def test_path_outside_the_storage_is_not_found(storage: Storage) -> None:
    with pytest.raises(NotFound):
        await storage.read("exports/7/../8/x")


async def test_partial_file_of_a_killed_writer_is_deleted_when_it_is_old(tmp_path: Path) -> None:
    storage = Storage(tmp_path.as_uri())
    await write(storage, PATH, b"complete")
    (tmp_path / f"{PATH}#1").write_bytes(b"partial")
    assert storage.delete_partial_files(timedelta(days=1)) == 0
    assert storage.delete_partial_files(timedelta(0)) == 1
    assert await read(storage, PATH) == b"complete"


@pytest.mark.parametrize("part", ["", ".", "..", "a/b", "a b", ".hidden", "ä"])
def test_invalid_path_part_is_rejected(part: str) -> None:
    with pytest.raises(ValueError, match="can't be part"):
        stored_path("artifacts", OrgId(1), part)


@pytest.mark.parametrize(
    ("path", "belongs"),
    [
        ("inbox/7/big.json", True),
        ("inbox/7/a/b.json", True),
        ("inbox/77/big.json", False),
        ("exports/7/x", False),
        ("inbox/7/../8/x", False),
        ("inbox/7/", False),
        ("inbox/7", False),
    ],
)
def test_path_belongs_to_its_organization_and_area(path: str, belongs: bool) -> None:
    assert belongs_to(path, OrgId(7), "artifacts", "inbox") is belongs
