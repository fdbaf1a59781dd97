"""DELETE of a run: deletes everything that belongs to the run, and nothing else."""

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import asyncpg
import pytest

from service.domain.errors import Unavailable
from service.retention.files import delete_queued_files
from service.storage import Storage
from tests.run_events import result, run_event
from tests.served import Api, serve

TABLES = ("runs", "results", "result_details", "shard_results", "artifacts")


@pytest.fixture
async def stored(api: Api) -> Api:
    failed = result("pays", "failed", failure={"message": "no"}, artifacts=[{"name": "a.png", "uri": "s3://x"}])
    await api.store.ingest(
        run_event("run_1", [result("logs in"), failed], id="evt_1"), run_event("run_2", [result("logs in"), failed])
    )
    await api.store.pool.execute(
        "INSERT INTO shard_results SELECT org_id, run_key, case_key, 0, 0, '{}' FROM results WHERE status = 'f'"
    )
    return api


def files_under(folder: Path) -> list[Path]:
    return [path for path in folder.rglob("*") if path.is_file()]


async def counts(api: Api) -> list[int]:
    return [await api.store.pool.fetchval(f"SELECT count(*) FROM {table}") for table in TABLES]


async def test_deletion_includes_everything_that_belongs_to_the_run(stored: Api) -> None:
    assert await counts(stored) == [2, 4, 2, 2, 2]
    assert (await stored.send("DELETE", "/v1/runs/run_1")).status == 204
    assert await counts(stored) == [1, 2, 1, 1, 1]
    await stored.error("/v1/runs/run_1", 404)
    assert {item["run_id"] for item in (await stored.get("/v1/results"))["data"]} == {"run_2"}
    assert (await stored.send("DELETE", "/v1/runs/run_1")).status == 404


async def test_redelivered_event_does_not_restore_a_deleted_run(stored: Api) -> None:
    await stored.send("DELETE", "/v1/runs/run_1")
    failed = result("pays", "failed", failure={"message": "no"}, artifacts=[{"name": "a.png", "uri": "s3://x"}])
    await stored.store.ingest(run_event("run_1", [result("logs in"), failed], id="evt_1"))
    await stored.error("/v1/runs/run_1", 404)


async def test_only_an_admin_of_the_organization_and_project_can_delete_a_run(stored: Api) -> None:
    engineer = (await stored.make_key("engineer")).key
    assert (await stored.send("DELETE", "/v1/runs/run_1", key=engineer)).status == 403
    _, other_key = await stored.make_organization("other")
    bound = (await stored.make_key("admin", project_id="blog")).key
    for key in (other_key, bound):
        assert (await stored.send("DELETE", "/v1/runs/run_1", key=key)).status == 404
    assert await counts(stored) == [2, 4, 2, 2, 2]


class BrokenStorage:
    """A storage that blocks the deletion of some files, or fails to delete them."""

    def __init__(self, storage: Storage, *, blocks: bool, paths: frozenset[str] | None = None) -> None:
        self._storage = storage
        self._blocks = blocks
        self._paths = paths

    def __getattr__(self, name: str) -> Any:
        return getattr(self._storage, name)

    async def delete(self, path: str) -> None:
        if self._paths is not None and path not in self._paths:
            await self._storage.delete(path)
            return
        if self._blocks:
            await asyncio.Event().wait()
        raise Unavailable("the file storage does not respond")


@pytest.fixture
async def with_files(database_url: str, tmp_path: Path) -> AsyncIterator[Api]:
    """An API with a run that has two files."""
    async with serve(database_url, artifacts_url=tmp_path.as_uri()) as api:
        await api.store.ingest(run_event("run_1"))
        id_ = (await api.get("/v1/results"))["data"][0]["id"]
        headers = {"Authorization": f"Bearer {api.key}"}
        for name in ("a.txt", "b.txt"):
            put = await api.http.put(f"/v1/results/{id_}/artifacts/{name}", data=b"some bytes", headers=headers)
            assert put.status == 201, await put.text()
        assert len(files_under(tmp_path)) == 2
        yield api


async def test_deletion_includes_the_files_in_storage(with_files: Api, tmp_path: Path) -> None:
    assert (await with_files.send("DELETE", "/v1/runs/run_1")).status == 204
    await delete_queued_files(with_files.store.pool, with_files.resources.storage)
    assert not files_under(tmp_path)
    assert await with_files.store.pool.fetchval("SELECT count(*) FROM file_deletions WHERE due_at <= now()") == 0


@pytest.mark.parametrize("blocks", [True, False], ids=["slow", "unavailable"])
async def test_run_is_deleted_while_storage_does_not_delete_its_files(
    with_files: Api, tmp_path: Path, *, blocks: bool
) -> None:
    storage = with_files.resources.storage
    object.__setattr__(with_files.resources, "storage", BrokenStorage(storage, blocks=blocks))
    async with asyncio.timeout(5):
        assert (await with_files.send("DELETE", "/v1/runs/run_1")).status == 204
        await with_files.error("/v1/runs/run_1", 404)
    assert len(files_under(tmp_path)) == 2
    await delete_queued_files(with_files.store.pool, storage)
    assert not files_under(tmp_path)


async def test_failed_deletion_keeps_the_run_and_its_files(with_files: Api, database_url: str, tmp_path: Path) -> None:
    superuser = await asyncpg.connect(database_url)
    await superuser.execute(
        "CREATE FUNCTION fail() RETURNS trigger LANGUAGE plpgsql AS"
        " $$ BEGIN RAISE 'the commit fails' USING ERRCODE = 'disk_full'; END $$;"
        "CREATE CONSTRAINT TRIGGER fail AFTER INSERT ON file_deletions DEFERRABLE INITIALLY DEFERRED"
        " FOR EACH ROW EXECUTE FUNCTION fail()"
    )
    await superuser.close()
    assert (await with_files.send("DELETE", "/v1/runs/run_1")).status == 503
    await delete_queued_files(with_files.store.pool, with_files.resources.storage)
    assert (await with_files.get("/v1/runs/run_1"))["run_id"] == "run_1"
    assert len(files_under(tmp_path)) == 2


async def test_interrupted_deletion_of_files_is_resumed(with_files: Api, tmp_path: Path) -> None:
    pool, storage = with_files.store.pool, with_files.resources.storage
    await with_files.send("DELETE", "/v1/runs/run_1")
    with pytest.raises(TimeoutError):
        async with asyncio.timeout(0.2):
            await delete_queued_files(pool, BrokenStorage(storage, blocks=True))  # type: ignore[arg-type]
    await delete_queued_files(pool, storage)
    assert len(files_under(tmp_path)) == 2  # the lease of the interrupted worker has not expired
    await pool.execute("UPDATE file_deletions SET due_at = now()")
    await delete_queued_files(pool, storage)
    assert not files_under(tmp_path)


async def test_file_that_storage_cannot_delete_does_not_block_the_others(with_files: Api, tmp_path: Path) -> None:
    pool, storage = with_files.store.pool, with_files.resources.storage
    await with_files.send("DELETE", "/v1/runs/run_1")
    first = frozenset({await pool.fetchval("SELECT min(path) FROM file_deletions WHERE due_at <= now()")})
    with pytest.raises(Unavailable):
        await delete_queued_files(pool, BrokenStorage(storage, blocks=False, paths=first))  # type: ignore[arg-type]
    assert [str(path.relative_to(tmp_path)) for path in files_under(tmp_path)] == list(first)
    postponed = "SELECT path FROM file_deletions WHERE path NOT LIKE '%/' AND due_at > now() + interval '9 min'"
    assert await pool.fetchval(postponed) in first


async def test_replaced_artifact_is_deleted_after_the_commit(with_files: Api, tmp_path: Path) -> None:
    id_ = (await with_files.get("/v1/results"))["data"][0]["id"]
    headers = {"Authorization": f"Bearer {with_files.key}"}
    storage = with_files.resources.storage
    object.__setattr__(with_files.resources, "storage", BrokenStorage(storage, blocks=False))
    put = await with_files.http.put(f"/v1/results/{id_}/artifacts/a.txt", data=b"other bytes", headers=headers)
    assert put.status == 201, await put.text()
    await delete_queued_files(with_files.store.pool, storage)
    assert sorted(path.read_bytes() for path in files_under(tmp_path)) == [b"other bytes", b"some bytes"]
