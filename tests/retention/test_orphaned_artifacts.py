"""The cleanup deletes uploaded files that no artifact refers to, of living and deleted runs, and no others."""

import asyncio
import os
import signal
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from aiohttp import ClientError, ClientSession

from service.database.database import as_owner
from service.domain.errors import Unavailable
from service.domain.ids import RUN_ITSELF, OrgId, RunKey, artifact_key
from service.retention import files
from service.retention.files import delete_orphaned_files, delete_queued_files
from service.storage import Storage, stored_path
from tests.api.server.test_processes import serving
from tests.run_events import run_event
from tests.served import Api, serve
from tests.storing import write

ORG = OrgId(1)
LOCK = (
    "SELECT pg_advisory_lock(hashtextextended("
    "concat_ws(' ', 'artifacts', $1::int, $2::uuid, $3::bigint, $4::bigint), 0))"
)


@pytest.fixture
async def api(database_url: str, storage_url: str) -> AsyncIterator[Api]:
    """An API with two runs, of which the first one has a stored artifact."""
    async with serve(database_url, artifacts_url=storage_url) as api:
        await api.store.ingest(run_event("run_1"), run_event("run_2"))
        assert (await upload(api, "run_1", "kept.txt")) == 201
        yield api


@pytest.fixture(autouse=True)
def at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """Every file is old enough to be deleted, and no row is being inserted."""
    monkeypatch.setattr(files, "_MIN_AGE", timedelta(0))
    monkeypatch.setattr(files, "UPLOADS_END_AFTER", timedelta(0))
    monkeypatch.setattr(files, "_COMMIT_S", 0.0)


async def upload(api: Api, run_id: str, name: str) -> int:
    headers = {"Authorization": f"Bearer {api.key}"}
    async with api.http.put(f"/v1/runs/{run_id}/artifacts/{name}", data=b"bytes", headers=headers) as response:
        return response.status


async def run_key(api: Api, run_id: str) -> RunKey:
    key: RunKey = await api.store.pool.fetchval("SELECT run_key FROM runs WHERE run_id = $1", run_id)
    return key


async def leave_file(api: Api, key: RunKey, number: int = 0, org_id: OrgId = ORG) -> str:
    """Store a file as a process that is killed before it inserts the row."""
    path = stored_path("artifacts", org_id, key.hex, f"{number:032x}")
    await write(api.resources.storage, path, b"of a killed process")
    return path


async def paths(api: Api) -> set[str]:
    return {path async for batch in api.resources.storage.list_all("artifacts") for path in batch}


async def clean_up(api: Api) -> set[str]:
    """Delete the orphaned files, and return the paths of the remaining ones."""
    await delete_orphaned_files(api.store.pool, api.resources.storage)
    return await paths(api)


@asynccontextmanager
async def blocked_row(api: Api, key: RunKey, name: str) -> AsyncIterator[None]:
    """Let the transaction that inserts this artifact of a run wait during the block."""
    async with api.store.pool.acquire() as connection:
        await connection.execute(LOCK, ORG, key, RUN_ITSELF, artifact_key(name))
        try:
            yield
        finally:
            await connection.execute("SELECT pg_advisory_unlock_all()")


async def until_stored(storage: Storage, count: int) -> None:
    async with asyncio.timeout(20):
        while len([path async for batch in storage.list_all("artifacts") for path in batch]) < count:  # noqa: ASYNC110
            await asyncio.sleep(0.05)


@pytest.mark.slow
async def test_file_of_a_process_that_was_killed_before_the_row_is_deleted(database_url: str, tmp_path: Path) -> None:
    async with serve(database_url, artifacts_url=tmp_path.as_uri()) as api:
        await api.store.ingest(run_event("run_1"))
        assert (await upload(api, "run_1", "kept.txt")) == 201
        kept, key = await paths(api), await run_key(api, "run_1")
        storage_url = {"RESULTS_ARTIFACTS_URL": tmp_path.as_uri()}
        async with (
            blocked_row(api, key, "lost.txt"),
            serving(database_url, **storage_url) as served,
            ClientSession(headers={"Authorization": f"Bearer {api.key}"}) as client,
        ):
            url = f"{served.url}/v1/runs/run_1/artifacts/lost.txt"
            request = asyncio.create_task(client.put(url, data=b"lost"))
            await until_stored(api.resources.storage, 2)
            for pid in (served.parent.pid, *served.children()):
                os.kill(pid, signal.SIGKILL)
            with pytest.raises(ClientError):
                await request
        assert len(await paths(api)) == 2
        assert await clean_up(api) == kept


async def test_file_whose_row_is_being_inserted_stays(api: Api, monkeypatch: pytest.MonkeyPatch) -> None:
    """S3 states the start of an upload as its time, so that the file of a long upload is never new."""
    monkeypatch.setattr(files, "_COMMIT_S", 2.0)
    async with blocked_row(api, await run_key(api, "run_1"), "slow.txt"):
        uploading = asyncio.create_task(upload(api, "run_1", "slow.txt"))
        await until_stored(api.resources.storage, 2)
        cleaning = asyncio.create_task(clean_up(api))
        await asyncio.sleep(1)
    assert await uploading == 201
    assert len(await cleaning) == 2


async def test_files_without_a_row_are_deleted_a_day_later(api: Api, monkeypatch: pytest.MonkeyPatch) -> None:
    kept, key = await paths(api), await run_key(api, "run_1")
    orphaned = {await leave_file(api, key), await leave_file(api, await run_key(api, "run_2"))}
    with monkeypatch.context() as patched:
        patched.setattr(files, "_MIN_AGE", timedelta(days=1))
        assert await clean_up(api) == kept | orphaned
    assert await clean_up(api) == kept


async def test_file_of_a_producer_stays(api: Api) -> None:
    """Producers store files in this area, and refer to them in events."""
    kept = await paths(api)
    produced = {"artifacts/1/nightly.json", f"artifacts/1/{(await run_key(api, 'run_1')).hex}/log.txt"}
    for path in produced:
        await write(api.resources.storage, path, b"of a producer")
    assert await clean_up(api) == kept | produced


async def archive_month(api: Api, database_url: str) -> str:
    """Detach the partition with the artifacts, and return its name."""
    completed_at = await api.store.pool.fetchval("SELECT completed_at FROM runs WHERE org_id = $1 LIMIT 1", api.org_id)
    name = f"artifacts_{completed_at:%Y_%m}"
    async with as_owner(database_url) as owner:
        await owner.execute(f"ALTER TABLE artifacts DETACH PARTITION {name}")
    return name


@pytest.mark.usefixtures("no_partitions")
async def test_files_of_an_archived_month_stay(api: Api, database_url: str) -> None:
    """An operator detaches the partitions of a month to keep them, and marks its runs as expired."""
    [kept] = await paths(api)
    partition = await archive_month(api, database_url)
    assert await clean_up(api) == {kept}
    await api.store.pool.execute("UPDATE runs SET results_expired = true")
    async with as_owner(database_url) as owner:  # ingest creates such a partition for the event of another run
        bounds = "FROM ('00000000-0000-0000-0000-000000000000') TO ('ffffffff-ffff-ffff-ffff-ffffffffffff')"
        await owner.execute(f"CREATE TABLE {partition}_2 PARTITION OF artifacts FOR VALUES {bounds}")
    assert await clean_up(api) == {kept}


async def test_files_of_an_archived_month_stay_after_the_deletion_of_their_run(api: Api, database_url: str) -> None:
    """Rows that the operator keeps still refer to them."""
    [kept] = await paths(api)
    await archive_month(api, database_url)
    await delete_run(api, "run_1")
    assert await clean_up(api) == {kept}
    assert await api.store.pool.fetchval("SELECT count(*) FROM file_deletions") == 0


async def test_millions_of_files_are_compared_in_several_calls(api: Api, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(files, "_PAGE", 2)
    monkeypatch.setattr(files, "_MAX_PAGES", 2)
    kept, key = await paths(api), await run_key(api, "run_2")
    orphaned = {await leave_file(api, key, number) for number in range(10)}
    remaining = [len(await clean_up(api) & orphaned) for _ in range(4)]
    assert remaining[0] >= 6, "a call deletes at most two pages"
    assert remaining[-1] == 0
    assert await paths(api) == kept
    new = await leave_file(api, await run_key(api, "run_1"))
    assert new not in [await clean_up(api) for _ in range(2)][-1], "the next call begins with the first file again"


class FailingStorage:
    """A storage that can't delete one file."""

    def __init__(self, storage: Storage, path: str) -> None:
        self._storage = storage
        self._path = path

    def __getattr__(self, name: str) -> Any:
        return getattr(self._storage, name)

    async def delete(self, path: str) -> None:
        if path == self._path:
            raise Unavailable("the file storage denies access")
        await self._storage.delete(path)


async def test_file_that_can_not_be_deleted_blocks_no_other(api: Api, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(files, "_PAGE", 2)
    kept, key = await paths(api), await run_key(api, "run_2")
    orphaned = [await leave_file(api, key, number) for number in range(6)]
    with pytest.raises(Unavailable):
        await delete_orphaned_files(api.store.pool, FailingStorage(api.resources.storage, orphaned[0]))  # type: ignore[arg-type]
    assert await paths(api) == {*kept, orphaned[0]}


async def delete_run(api: Api, run_id: str) -> None:
    """Delete a run, and its files after the time in which uploads can be in progress."""
    assert (await api.send("DELETE", f"/v1/runs/{run_id}")).status == 204
    await api.store.pool.execute("UPDATE file_deletions SET due_at = now()")
    await delete_queued_files(api.store.pool, api.resources.storage)


async def test_files_without_a_row_are_deleted_with_their_run(api: Api) -> None:
    orphaned = await leave_file(api, await run_key(api, "run_1"))
    other = await leave_file(api, await run_key(api, "run_2"))
    assert orphaned in await paths(api)
    await delete_run(api, "run_1")
    assert await paths(api) == {other}
    assert await api.store.pool.fetchval("SELECT count(*) FROM file_deletions") == 0


async def test_files_of_a_run_that_is_stored_again_stay(api: Api, monkeypatch: pytest.MonkeyPatch) -> None:
    """The run has the same key, and therefore the same folder."""
    key = await run_key(api, "run_1")
    orphaned = await leave_file(api, key)
    assert (await api.send("DELETE", "/v1/runs/run_1")).status == 204
    await delete_queued_files(api.store.pool, api.resources.storage)
    await api.store.ingest(run_event("run_1", id="evt_again"))
    assert await run_key(api, "run_1") == key
    assert await upload(api, "run_1", "again.txt") == 201
    [kept] = await paths(api) - {orphaned}
    await api.store.pool.execute("UPDATE file_deletions SET due_at = now()")
    with monkeypatch.context() as patched:
        patched.setattr(files, "UPLOADS_END_AFTER", timedelta(hours=1))
        await delete_queued_files(api.store.pool, api.resources.storage)
    assert await paths(api) == {kept, orphaned}
    await api.store.pool.execute("INSERT INTO file_deletions (org_id, path) VALUES (1, $1)", f"artifacts/1/{key.hex}/")
    await delete_queued_files(api.store.pool, api.resources.storage)
    assert await paths(api) == {kept}


async def test_files_of_runs_that_were_deleted_earlier_and_of_deleted_organizations_are_deleted(api: Api) -> None:
    """Earlier versions have left such files, and so does an upload that ends after the deletion."""
    key = await run_key(api, "run_1")
    await delete_run(api, "run_1")
    orphaned = {await leave_file(api, key), await leave_file(api, key, org_id=OrgId(999))}
    assert await paths(api) == orphaned
    assert await clean_up(api) == set()
