"""Lifecycle of an export job: request, processing, cancellation, and expiry."""

import asyncio
import os
import time
from collections.abc import AsyncIterator
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import orjson
import pytest

from service.database.database import Connection
from service.domain.errors import NotFound
from service.retention import files as retention_files
from service.retention import store as retention_store
from service.retention.expiry import ClocksDiffer
from service.retention.files import delete_orphaned_files, delete_queued_files
from tests.buckets import delete_bucket, new_bucket
from tests.exporting import Blocked, Exports, exporting, files
from tests.run_events import result, run_event
from tests.served import Api
from tests.storing import read, write

PATH = "/v1/results/export"


@pytest.fixture
async def exports(database_url: str, tmp_path: Path) -> AsyncIterator[Exports]:
    async with exporting(database_url, (tmp_path / "files").as_uri()) as opened:
        await opened.api.store.ingest(run_event("run_1", [result("a"), result("b", "failed")]))
        yield opened


class Undeletable:
    """A storage that never finishes the deletion of a file."""

    async def delete(self, _: str) -> None:
        await asyncio.Event().wait()


@pytest.fixture
def at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """The cleanup doesn't wait until rows of complete files can exist."""
    monkeypatch.setattr(retention_files, "_COMMIT_S", 0.0)


async def test_requested_export_is_queued_and_then_has_a_file(exports: Exports) -> None:
    queued = await exports.request("csv", filter={"status": ["failed"]})
    assert queued["status"] == "queued"
    assert queued["filter"] == {"status": ["failed"]}
    assert (await exports.api.send("GET", f"{PATH}/{queued['id']}/file")).status == 409
    async with exports.running_worker():
        job = await exports.finished(queued["id"])
    assert (job["status"], job["rows"], job["progress"], job["error"]) == ("succeeded", 1, 1, None)
    assert job["file_url"].endswith(f"{PATH}/{queued['id']}/file")
    assert job["expires_at"] > job["finished_at"] > job["created_at"]


async def test_request_returns_202_with_a_location_also_without_the_prefix(exports: Exports) -> None:
    response = await exports.api.send("POST", "/results/export", json={"format": "csv"})
    assert response.status == 202
    assert (await exports.api.get(response.headers["Location"]))["id"] == (await response.json())["id"]


async def test_request_and_its_replay_return_retry_after(exports: Exports) -> None:
    for replayed in (None, "true"):
        response = await exports.api.send("POST", PATH, json={"format": "csv"}, Idempotency_Key="again")
        assert response.headers.get("Idempotent-Replayed") == replayed
        assert response.headers["Retry-After"] == "1"


async def test_unchanged_job_returns_304(exports: Exports) -> None:
    path = f"{PATH}/{(await exports.request())['id']}"
    tag = (await exports.api.send("GET", path)).headers["ETag"]
    assert (await exports.api.send("GET", path, If_None_Match=tag)).status == 304
    async with exports.running_worker():
        finished = await exports.api.send("GET", path, {"wait": "25"}, If_None_Match=tag)
    assert (finished.status, (await finished.json())["status"]) == (200, "succeeded")


async def test_wait_ends_when_the_job_is_finished(exports: Exports) -> None:
    queued = await exports.request()
    waiting = asyncio.create_task(exports.api.get(f"{PATH}/{queued['id']}", {"wait": "25"}))
    await asyncio.sleep(0.1)
    async with exports.running_worker():
        async with asyncio.timeout(10):
            assert (await waiting)["status"] == "succeeded"


async def test_expired_wait_returns_the_current_job(exports: Exports) -> None:
    queued = await exports.request()
    assert (await exports.api.get(f"{PATH}/{queued['id']}", {"wait": "1"}))["status"] == "queued"


async def test_hundred_requests_with_one_idempotency_key_create_one_job(exports: Exports) -> None:
    async def request() -> Any:
        while True:
            response = await exports.api.send("POST", PATH, json={"format": "csv"}, Idempotency_Key="once")
            if response.status != 409:
                assert response.status == 202
                return (await response.json())["id"]

    assert len(set(await asyncio.gather(*(request() for _ in range(100))))) == 1
    assert len(await exports.api.list_all(PATH)) == 1


async def test_list_contains_each_job_once_newest_first(exports: Exports) -> None:
    queued = [(await exports.request())["id"] for _ in range(5)]
    assert [job["id"] for job in await exports.api.list_all(PATH, {"limit": "2"})] == sorted(queued, reverse=True)


@pytest.mark.parametrize(
    ("body", "param"),
    [
        ({}, "format"),
        ({"format": "xlsx"}, "format"),
        ({"format": "csv", "compression": "rar"}, "compression"),
        ({"format": "csv", "columns": ["id", "color"]}, "columns"),
        ({"format": "csv", "columns": []}, "columns"),
        ({"format": "csv", "columns": ["id", "id"]}, "columns"),
        ({"format": "csv", "filter": {"unknown": "red"}}, "filter.unknown"),
        ({"format": "csv", "filter": {"limit": 3}}, "filter.limit"),
        ({"format": "csv", "filter": {"status": ["green"]}}, "filter.status.0"),
        ({"format": "csv", "filter": {"status": "green"}}, "filter.status.0"),
        ({"format": "csv", "filter": {"status": []}}, "filter.status"),
        ({"format": "csv", "filter": {"suite": "s"}}, "filter.suite"),
        ({"format": "csv", "filter": {"from": "yesterday"}}, "filter.from"),
        ({"format": "csv", "filter": 7}, "filter"),
        ({"format": "csv", "raw": "yes"}, "raw"),
        ({"format": "csv", "speed": 9}, "speed"),
    ],
    ids=str,
)
async def test_invalid_request_names_the_field(shared_api: Api, body: dict[str, Any], param: str) -> None:
    response = await shared_api.send("POST", PATH, json=body)
    assert response.status == 400
    assert (await response.json())["error"]["param"] == param


async def test_other_organization_sees_neither_job_nor_file(exports: Exports) -> None:
    job = await exports.run()
    _, key = await exports.api.make_organization("other")
    for path in (f"{PATH}/{job['id']}", f"{PATH}/{job['id']}/file"):
        await exports.api.error(path, 404, key=key)
    assert (await exports.api.send("DELETE", f"{PATH}/{job['id']}", key=key)).status == 404
    assert (await exports.api.get(PATH, key=key))["data"] == []
    await exports.file(job)


async def test_file_contains_only_rows_of_its_organization(exports: Exports) -> None:
    _, key = await exports.api.make_organization("other")
    await exports.api.store.ingest(run_event("theirs", organization="other"))
    queued = await exports.request("ndjson", key=key)
    async with exports.running_worker():
        async with asyncio.timeout(10):
            await exports.api.get(f"{PATH}/{queued['id']}", {"wait": "9"}, key=key)
    response = await exports.api.send("GET", f"{PATH}/{queued['id']}/file", key=key)
    assert [orjson.loads(line)["run_id"] for line in (await response.read()).splitlines()] == ["theirs"]


async def test_viewer_cannot_export(exports: Exports) -> None:
    viewer = (await exports.api.make_key("viewer")).key
    await exports.request(status=403, key=viewer)


async def test_project_key_exports_only_its_project(exports: Exports) -> None:
    await exports.api.store.ingest(run_event("run_of_bank", project_id="bank"))
    key = (await exports.api.make_key("engineer", project_id="bank")).key
    other_project = await exports.request()
    await exports.request(status=403, key=key, filter={"project_id": "shop"})
    queued = await exports.request("ndjson", key=key)
    async with exports.running_worker():
        job = await exports.finished(queued["id"])
    assert [orjson.loads(line)["run_id"] for line in (await exports.file(job)).splitlines()] == ["run_of_bank"]
    await exports.api.error(f"{PATH}/{other_project['id']}", 404, key=key)
    assert [listed["id"] for listed in (await exports.api.get(PATH, key=key))["data"]] == [queued["id"]]


@pytest.mark.parametrize("project_id", ["webshopp", "of_another"])
async def test_export_of_an_unknown_project_is_an_error(exports: Exports, project_id: str) -> None:
    await exports.api.make_organization("other")
    await exports.api.store.ingest(run_event("theirs", organization="other", project_id="of_another"))
    error = (await exports.request("csv", 400, filter={"project_id": project_id}))["error"]
    assert (error["param"], error["message"]) == (
        "filter.project_id", f"filter.project_id: project {project_id!r} not found",
    )  # fmt: skip


async def test_key_of_a_project_without_runs_exports_no_rows(exports: Exports) -> None:
    key = (await exports.api.make_key("engineer", project_id="new")).key
    for filters in ({}, {"project_id": "new"}):
        queued = await exports.request("csv", key=key, filter=filters)
        async with exports.running_worker():
            assert (await exports.finished(queued["id"]))["rows"] == 0


async def test_increment_can_name_a_project_that_was_deleted(exports: Exports) -> None:
    """Otherwise, a copy would keep the runs that were deleted with their project."""
    body = {"format": "csv", "content": "runs", "updated_since": "0", "filter": {"project_id": "deleted"}}
    assert (await exports.api.send("POST", PATH, json=body)).status == 202


async def test_export_of_a_project_key_is_no_artifact_of_the_run_of_another_project(exports: Exports) -> None:
    await exports.api.store.ingest(run_event("run_of_bank", project_id="bank"))
    key = (await exports.api.make_key("engineer", project_id="bank")).key
    for requested in (
        await exports.request("csv", key=key, filter={"run_id": "run_1"}),
        await exports.request("csv", filter={"run_id": "run_1", "project_id": "bank"}),
    ):
        async with exports.running_worker():
            assert (await exports.finished(requested["id"]))["rows"] == 0
    result_id = (await exports.api.get("/v1/results", {"run_id": "run_1"}))["data"][0]["id"]
    assert (await exports.api.get(f"/v1/results/{result_id}/artifacts"))["data"] == []


async def test_canceled_job_stops_and_leaves_no_file(exports: Exports, tmp_path: Path) -> None:
    exports.exporter._storage = gate = Blocked(exports.storage)  # type: ignore[assignment]
    queued = await exports.request()
    async with exports.running_worker():
        await asyncio.wait_for(gate.waiting.wait(), 10)
        assert (await exports.job(queued["id"]))["status"] == "running"
        assert (await exports.api.send("DELETE", f"{PATH}/{queued['id']}")).status == 204
        assert (await exports.job(queued["id"]))["status"] == "canceled"
        await asyncio.sleep(2.5)  # longer than the interval of lease renewals
        gate.release.set()
        await asyncio.sleep(0.2)
    assert (await exports.job(queued["id"]))["status"] == "canceled"
    assert files(exports, tmp_path) == []


async def test_file_is_not_visible_before_it_is_complete(exports: Exports, tmp_path: Path) -> None:
    exports.exporter._storage = gate = Blocked(exports.storage)  # type: ignore[assignment]
    queued = await exports.request()
    async with exports.running_worker():
        await asyncio.wait_for(gate.waiting.wait(), 10)
        assert (await exports.api.send("GET", f"{PATH}/{queued['id']}/file")).status == 409
        assert [path for path in files(exports, tmp_path) if "#" not in path.name] == []
        gate.release.set()
        await exports.finished(queued["id"])


async def test_deleted_job_is_removed_with_its_file(exports: Exports, tmp_path: Path) -> None:
    job = await exports.run()
    assert (await exports.api.send("DELETE", f"{PATH}/{job['id']}")).status == 204
    await exports.api.error(f"{PATH}/{job['id']}", 404)
    assert (await exports.api.send("DELETE", f"{PATH}/{job['id']}")).status == 404
    await delete_queued_files(exports.api.store.pool, exports.storage)
    assert files(exports, tmp_path) == []


async def test_job_is_deleted_while_storage_does_not_delete_its_file(exports: Exports, tmp_path: Path) -> None:
    job = await exports.run()
    object.__setattr__(exports.api.resources, "storage", Undeletable())
    async with asyncio.timeout(5):
        assert (await exports.api.send("DELETE", f"{PATH}/{job['id']}")).status == 204
    assert len(files(exports, tmp_path)) == 1
    await delete_queued_files(exports.api.store.pool, exports.storage)
    assert files(exports, tmp_path) == []


async def test_expired_job_has_its_status_and_its_file_is_deleted(exports: Exports, tmp_path: Path) -> None:
    job = await exports.run(filter={"run_id": "run_1"})
    await exports.exporter.expire_files()
    assert (await exports.job(job["id"]))["status"] == "succeeded"
    await exports.api.store.pool.execute("UPDATE exports SET expires_at = now() - interval '1 second'")
    await exports.exporter.expire_files()
    assert (await exports.job(job["id"]))["status"] == "expired"
    assert (await exports.api.error(f"{PATH}/{job['id']}/file", 410))["code"] == "gone"
    await delete_queued_files(exports.api.store.pool, exports.storage)
    assert files(exports, tmp_path) == []
    assert await listed_artifacts(exports) == []


async def test_only_orphaned_files_older_than_a_day_are_deleted(
    exports: Exports, tmp_path: Path, at_once: None
) -> None:
    await exports.run()
    await exports.request()
    [owned] = files(exports, tmp_path)
    for name in ("old.csv", "new.csv"):
        await write(exports.storage, f"exports/1/exp_{'0' * 32}/{name}", b"written by a crashed worker")
    day_ago = time.time() - timedelta(days=1, minutes=1).total_seconds()
    for path in files(exports, tmp_path):
        if path.name != "new.csv":
            os.utime(path, (day_ago, day_ago))
    await delete_orphaned_files(exports.api.store.pool, exports.storage)
    assert {path.name for path in files(exports, tmp_path)} == {owned.name, "new.csv"}


@pytest.mark.parametrize("days", [-2, 2])
async def test_no_file_is_deleted_while_the_clocks_differ(
    exports: Exports, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, at_once: None, days: int
) -> None:
    read_clock = retention_store.read_clock

    async def read_wrong_clock(connection: Connection) -> datetime:
        return await read_clock(connection) + timedelta(days=days)

    monkeypatch.setattr(retention_store, "read_clock", read_wrong_clock)
    monkeypatch.setattr(retention_files, "_MIN_AGE", timedelta(0))
    await write(exports.storage, f"exports/1/exp_{'0' * 32}/finished.csv", b"of a job that is not committed yet")
    with pytest.raises(ClocksDiffer):
        await delete_orphaned_files(exports.api.store.pool, exports.storage)
    assert [path.name for path in files(exports, tmp_path)] == ["finished.csv"]


async def test_orphaned_file_is_deleted_in_every_storage(
    database_url: str, storage_url: str, monkeypatch: pytest.MonkeyPatch, at_once: None
) -> None:
    monkeypatch.setattr(retention_files, "_MIN_AGE", timedelta(0))
    async with exporting(database_url, storage_url) as exports:
        await exports.api.store.ingest(run_event("run_1", [result("a")]))
        job = await exports.run()
        orphaned = f"exports/1/exp_{'0' * 32}/orphaned.csv"
        await write(exports.storage, orphaned, b"written by a crashed worker")
        await delete_orphaned_files(exports.api.store.pool, exports.storage)
        with pytest.raises(NotFound):
            await read(exports.storage, orphaned)
        assert await exports.file(job)


async def test_file_missing_in_storage_returns_404_with_the_reason(exports: Exports, tmp_path: Path) -> None:
    job = await exports.run()
    for path in files(exports, tmp_path):
        path.unlink()
    assert "no longer in storage" in (await exports.api.error(f"{PATH}/{job['id']}/file", 404))["message"]


async def test_file_missing_in_storage_returns_404_instead_of_a_redirect(database_url: str, s3_url: str) -> None:
    async with exporting(database_url, new_bucket(s3_url), artifacts_redirect=True) as exports:
        job = await exports.run()
        assert await exports.file(job)
        await exports.storage.delete(await exports.api.store.pool.fetchval("SELECT path FROM exports"))
        assert "no longer in storage" in (await exports.api.error(f"{PATH}/{job['id']}/file", 404))["message"]


async def test_download_from_a_missing_bucket_returns_503_with_the_reason(database_url: str, s3_url: str) -> None:
    url = new_bucket(s3_url)
    async with exporting(database_url, url, artifacts_redirect=True) as exports:
        job = await exports.run()
        await exports.storage.delete(await exports.api.store.pool.fetchval("SELECT path FROM exports"))
        delete_bucket(s3_url, url)
        assert "bucket" in (await exports.api.error(f"{PATH}/{job['id']}/file", 503))["message"]


async def listed_artifacts(exports: Exports) -> list[Any]:
    results = await exports.api.list_all("/v1/results", {"run_id": "run_1"})
    per_result = [await exports.api.list_all(f"/v1/results/{result['id']}/artifacts") for result in results]
    assert all(artifacts == per_result[0] for artifacts in per_result)
    return per_result[0]


async def test_each_result_of_a_run_lists_the_exports_of_the_run(exports: Exports) -> None:
    await exports.run()
    job = await exports.run(compression="zstd", filter={"run_id": "run_1"})
    [artifact] = await listed_artifacts(exports)
    assert (artifact["kind"], artifact["name"]) == ("export", "results-run_1.csv.zst")
    assert (artifact["size"], artifact["sha256"]) == (job["size"], job["sha256"])
    assert artifact["expires_at"] == job["expires_at"]
    await exports.api.send("DELETE", f"{PATH}/{job['id']}")
    assert await listed_artifacts(exports) == []


async def emitted_events(exports: Exports) -> list[tuple[str, Any]]:
    rows = await exports.api.store.pool.fetch("SELECT type, data::text FROM events WHERE type LIKE 'export.%'")
    return [(row["type"], orjson.loads(row["data"])["status"]) for row in rows]


async def test_finished_job_emits_an_event(exports: Exports) -> None:
    await exports.run()
    assert await emitted_events(exports) == [("export.completed", "succeeded")]
