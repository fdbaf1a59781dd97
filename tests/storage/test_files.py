"""Stored files: unchanged, visible only when complete, with the same behavior in a folder and in S3."""

import os
from datetime import UTC, datetime, timedelta
from hashlib import sha256
from itertools import pairwise
from pathlib import Path
from uuid import uuid4

import pytest
from aiohttp import ClientSession

from service.domain.bucket_keys import BucketKey
from service.domain.errors import NotFound, Unavailable
from service.domain.ids import OrgId, new_id
from service.storage import Storage, belongs_to, stored_path
from service.storage.paths import is_partial_path
from tests.buckets import new_bucket
from tests.storing import read, write

PATH = stored_path("exports", OrgId(7), "exp_1.csv")
PARTIAL = f"exports/7/exp_{'0' * 32}/{'1' * 32}.csv.gz"
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


async def test_key_of_the_settings_replaces_the_credentials_of_the_environment(s3_url: str) -> None:
    storage = Storage(new_bucket(s3_url), BucketKey("key-of-the-settings", "secret"))
    await write(storage, PATH, b"x")
    url = await storage.presign(PATH, timedelta(minutes=1))
    assert url
    assert "X-Amz-Credential=key-of-the-settings%2F" in url
    assert "secret" not in repr(BucketKey("id", "secret"))


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
    (tmp_path / f"{PARTIAL}#1").parent.mkdir(parents=True)
    (tmp_path / f"{PARTIAL}#1").write_bytes(b"partial")
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


@pytest.mark.parametrize(
    "path", ["inbox/7/build #12.json", "inbox/7/a#1", f"inbox/7/rcp_{'0' * 32}/a#1", "artifacts/7/x/a.png#2", "notes#1"]
)
def test_file_of_a_producer_is_never_a_partial_file(path: str, tmp_path: Path) -> None:
    storage = Storage(tmp_path.as_uri())
    (tmp_path / path).parent.mkdir(parents=True, exist_ok=True)
    (tmp_path / path).write_bytes(b"of a producer")
    assert storage.delete_partial_files(timedelta(0)) == 0
    assert (tmp_path / path).exists()


@pytest.mark.parametrize(
    "path",
    [
        stored_path("exports", OrgId(1), new_id("exp"), f"{uuid4().hex}.parquet"),
        stored_path("inbox", OrgId(12), new_id("rcp"), "0"),
        stored_path("artifacts", OrgId(1), uuid4().hex, uuid4().hex),
        "client/0.9.0.pyz",
    ],
    ids=["export", "upload", "artifact", "client"],
)
async def test_partial_file_of_each_area_is_deleted(path: str, tmp_path: Path) -> None:
    """The names of partially written files are those that the storage library really uses."""
    storage = Storage(tmp_path.as_uri())
    async with storage.open_writer(path) as file:
        await file.write(BIG)
        assert [is_partial_path(found) for found in files_under(tmp_path)] == [True]


def files_under(folder: Path) -> list[str]:
    return [found.relative_to(folder).as_posix() for found in folder.rglob("*") if found.is_file()]


@pytest.fixture
def unmounted(tmp_path: Path) -> tuple[Storage, Path]:
    """A storage whose volume was unmounted, so that only its empty mount point exists."""
    folder = tmp_path / "files"
    storage = Storage(folder.as_uri())
    folder.rename(tmp_path / "volume")
    folder.mkdir()
    return storage, folder


async def test_file_is_not_reported_as_missing_while_the_volume_is_unmounted(unmounted: tuple[Storage, Path]) -> None:
    storage, _ = unmounted
    for operation in (storage.read(PATH), storage.size(PATH), storage.delete(PATH), storage.check()):
        with pytest.raises(Unavailable, match="volume is mounted"):
            await operation


@pytest.mark.parametrize("is_mount_point", [True, False])
async def test_nothing_is_written_while_the_storage_is_missing(
    unmounted: tuple[Storage, Path], *, is_mount_point: bool
) -> None:
    storage, folder = unmounted
    if not is_mount_point:
        folder.rmdir()
    with pytest.raises(Unavailable, match="volume is mounted"):
        await write(storage, PATH, b"x")
    assert not folder.exists() or list(folder.iterdir()) == []


async def test_write_fails_if_the_storage_disappears_meanwhile(tmp_path: Path) -> None:
    storage = Storage((tmp_path / "files").as_uri())
    file = await (opening := storage.open_writer(PATH)).__aenter__()
    (tmp_path / "files").rename(tmp_path / "volume")
    await file.write(b"x")
    with pytest.raises(Unavailable):
        await opening.__aexit__(None, None, None)


async def test_written_file_and_its_directories_are_synced_to_disk(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    synced: list[str] = []
    fsync = os.fsync

    def record(descriptor: int) -> None:
        synced.append(os.readlink(f"/proc/self/fd/{descriptor}"))
        fsync(descriptor)

    monkeypatch.setattr(os, "fsync", record)
    await write(Storage(tmp_path.as_uri()), PATH, b"x")
    folders = [tmp_path / PATH, tmp_path / "exports/7", tmp_path / "exports", tmp_path]
    assert synced == [str(folder) for folder in folders]


async def test_large_file_is_synced_to_disk_while_it_is_written(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The last fsync then writes only a few MiB, so that other programs don't wait for the disk."""
    synced_bytes = [0]
    fsync = os.fsync

    def record(descriptor: int) -> None:
        synced_bytes.append(os.fstat(descriptor).st_size)
        fsync(descriptor)

    monkeypatch.setattr(os, "fsync", record)
    async with Storage(tmp_path.as_uri()).open_writer(PATH) as file:
        for offset in range(0, len(BIG), 100_000):
            await file.write(BIG[offset : offset + 100_000])
        synced_bytes.append(len(BIG))
    assert max(later - earlier for earlier, later in pairwise(synced_bytes)) <= 8 * 2**20


async def test_check_accepts_a_usable_storage(storage: Storage) -> None:
    await storage.check()


async def test_s3_over_plain_http_names_the_setting(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
        monkeypatch.setenv(name, "test")
    monkeypatch.setenv("AWS_ENDPOINT_URL", "http://127.0.0.1:9")
    monkeypatch.delenv("AWS_ALLOW_HTTP", raising=False)
    storage = Storage("s3://bucket")
    for operation in (storage.check(), storage.size(PATH)):
        with pytest.raises(Unavailable, match=r"AWS_ENDPOINT_URL has no TLS\. Set AWS_ALLOW_HTTP=true"):
            await operation


async def test_missing_bucket_is_not_a_missing_file(s3_url: str) -> None:
    new_bucket(s3_url)
    storage = Storage("s3://missing-bucket")
    for operation in (storage.read(PATH), storage.check()):
        with pytest.raises(Unavailable, match="the bucket of the file storage does not exist"):
            await operation


async def read_pages(storage: Storage, limit: int) -> list[str]:
    """Return the paths of all artifacts, read in pages of this size, each after the last path of the previous one."""
    paths: list[str] = []
    while page := await storage.list_page("artifacts", paths[-1] if paths else "", limit):
        paths += [file.path for file in page]
    return paths


@pytest.mark.parametrize("limit", [1, 2, 3, 7, 100])
async def test_pages_contain_each_file_once_and_continue_after_a_deleted_one(storage: Storage, limit: int) -> None:
    names = ["1/a/x", "1/a/y", "1/a-b/x", "1/b", "10/a/x", "2/a/x/deep", "2/a.b", "2/a/z"]
    stored = {f"artifacts/{name}" for name in names}
    for path in (*stored, "artifacts-2/1/x", "exports/1/x", "inbox/1/x"):
        await write(storage, path, b"x")
    paths = await read_pages(storage, limit)
    assert len(paths) == len(stored)
    assert set(paths) == stored
    last = paths[3]
    await storage.delete(last)
    assert [file.path for file in await storage.list_page("artifacts", last, 100)] == paths[4:]
    assert await storage.list_page("artifacts", paths[-1], limit) == []
    assert await storage.list_page("none", "", limit) == []


async def test_page_states_when_a_file_was_written(storage: Storage) -> None:
    before = datetime.now(UTC) - timedelta(seconds=2)  # S3 states whole seconds
    await write(storage, "artifacts/1/x", b"x")
    [file] = await storage.list_page("artifacts", "", 10)
    assert before < file.modified_at < datetime.now(UTC) + timedelta(seconds=2)


async def test_page_of_a_folder_contains_no_partially_written_file(tmp_path: Path) -> None:
    storage = Storage(tmp_path.as_uri())
    async with storage.open_writer("artifacts/1/x") as file:
        await file.write(BIG[: 2**21])
        assert await storage.list_page("artifacts", "", 10) == []
    assert len(await storage.list_page("artifacts", "", 10)) == 1
