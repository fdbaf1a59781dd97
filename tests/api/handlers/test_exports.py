"""The life of an export job: asked for once, done once, seen by its own organization, ended, expired."""

import asyncio
import gc
import os
import time
from collections.abc import AsyncIterator
from datetime import timedelta
from pathlib import Path
from typing import Any

import orjson
import pytest

from service.domain.errors import NotFound, Unavailable
from service.storage import FileWriter, Storage
from tests.buckets import new_bucket
from tests.exporting import Exports, exporting
from tests.run_events import result, run_event
from tests.storing import read, write

PATH = "/v1/results/export"


@pytest.fixture
async def exports(database_url: str, tmp_path: Path) -> AsyncIterator[Exports]:
    async with exporting(database_url, (tmp_path / "files").as_uri()) as opened:
        await opened.api.store.take(run_event("run_1", [result("a"), result("b", "failed")]))
        yield opened


def files(exports: Exports, tmp_path: Path) -> list[Path]:
    return [path for path in (tmp_path / "files").rglob("*") if path.is_file()]


class Blocked:
    """A storage whose files wait to be whole."""

    def __init__(self, storage: Storage) -> None:
        self._storage = storage
        self.waiting = asyncio.Event()
        self.release = asyncio.Event()

    def __getattr__(self, name: str) -> Any:
        return getattr(self._storage, name)

    def open_writer(self, *said: Any) -> Any:
        return _Blocked(self, self._storage.open_writer(*said))


class _Blocked:
    def __init__(self, gate: Blocked, writing: Any) -> None:
        self._gate = gate
        self._writing = writing

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


class Full:
    """A storage that takes nothing, so many times."""

    def __init__(self, storage: Storage, times: int) -> None:
        self._storage = storage
        self._times = times

    def __getattr__(self, name: str) -> Any:
        return getattr(self._storage, name)

    def open_writer(self, *said: Any) -> Any:
        self._times -= 1
        if self._times >= 0:
            raise Unavailable("the file storage is full")
        return self._storage.open_writer(*said)


@pytest.fixture
def no_waits(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("service.usecases.exports.run_export.RETRY_DELAYS", (timedelta(0), timedelta(0)))


async def test_a_job_is_queued_then_done_with_a_file(exports: Exports) -> None:
    asked = await exports.ask("csv", filter={"status": ["failed"]})
    assert asked["status"] == "queued"
    assert asked["filter"] == {"status": ["failed"]}
    assert (await exports.api.send("GET", f"{PATH}/{asked['id']}/file")).status == 409
    async with exports.working():
        job = await exports.done(asked["id"])
    assert (job["status"], job["rows"], job["progress"], job["error"]) == ("succeeded", 1, 1, None)
    assert job["file_url"].endswith(f"{PATH}/{asked['id']}/file")
    assert job["expires_at"] > job["finished_at"] > job["created_at"]


async def test_asking_answers_202_with_the_place_of_the_job_and_without_the_prefix_too(exports: Exports) -> None:
    answer = await exports.api.send("POST", "/results/export", json={"format": "csv"})
    assert answer.status == 202
    assert (await exports.api.get(answer.headers["Location"]))["id"] == (await answer.json())["id"]


async def test_asking_says_when_to_look_again_and_says_it_to_a_repetition_too(exports: Exports) -> None:
    for replayed in (None, "true"):
        answer = await exports.api.send("POST", PATH, json={"format": "csv"}, Idempotency_Key="again")
        assert answer.headers.get("Idempotent-Replayed") == replayed
        assert answer.headers["Retry-After"] == "1"


async def test_a_job_that_the_client_has_is_not_sent_again(exports: Exports) -> None:
    path = f"{PATH}/{(await exports.ask())['id']}"
    tag = (await exports.api.send("GET", path)).headers["ETag"]
    assert (await exports.api.send("GET", path, If_None_Match=tag)).status == 304
    async with exports.working():
        over = await exports.api.send("GET", path, {"wait": "25"}, If_None_Match=tag)
    assert (over.status, (await over.json())["status"]) == (200, "succeeded")


async def test_a_wait_ends_with_the_job_and_not_with_its_time(exports: Exports) -> None:
    asked = await exports.ask()
    waiting = asyncio.create_task(exports.api.get(f"{PATH}/{asked['id']}", {"wait": "25"}))
    await asyncio.sleep(0.1)
    async with exports.working():
        async with asyncio.timeout(10):
            assert (await waiting)["status"] == "succeeded"


async def test_a_wait_without_end_shows_the_job_as_it_is(exports: Exports) -> None:
    asked = await exports.ask()
    assert (await exports.api.get(f"{PATH}/{asked['id']}", {"wait": "1"}))["status"] == "queued"


async def test_a_hundred_requests_with_one_idempotency_key_make_one_job(exports: Exports) -> None:
    async def ask() -> Any:
        while True:
            answer = await exports.api.send("POST", PATH, json={"format": "csv"}, Idempotency_Key="once")
            if answer.status != 409:
                assert answer.status == 202
                return (await answer.json())["id"]

    assert len(set(await asyncio.gather(*(ask() for _ in range(100))))) == 1
    assert len(await exports.api.walk(PATH)) == 1


async def test_the_list_shows_every_job_once_newest_first(exports: Exports) -> None:
    asked = [(await exports.ask())["id"] for _ in range(5)]
    assert [job["id"] for job in await exports.api.walk(PATH, {"limit": "2"})] == sorted(asked, reverse=True)


@pytest.mark.parametrize(
    ("body", "param"),
    [
        ({}, "format"),
        ({"format": "xlsx"}, "format"),
        ({"format": "csv", "compression": "rar"}, "compression"),
        ({"format": "csv", "columns": ["id", "color"]}, "columns"),
        ({"format": "csv", "columns": []}, "columns"),
        ({"format": "csv", "columns": ["id", "id"]}, "columns"),
        ({"format": "csv", "filter": {"colour": "red"}}, "filter.colour"),
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
async def test_what_is_wrong_is_named(exports: Exports, body: dict[str, Any], param: str) -> None:
    answer = await exports.api.send("POST", PATH, json=body)
    assert answer.status == 400
    assert (await answer.json())["error"]["param"] == param


async def test_another_organization_sees_no_job_and_no_file(exports: Exports) -> None:
    job = await exports.make()
    _, key = await exports.api.make_organization("other")
    for path in (f"{PATH}/{job['id']}", f"{PATH}/{job['id']}/file"):
        await exports.api.error(path, 404, key=key)
    assert (await exports.api.send("DELETE", f"{PATH}/{job['id']}", key=key)).status == 404
    assert (await exports.api.get(PATH, key=key))["data"] == []
    await exports.file(job)


async def test_a_file_holds_no_row_of_another_organization(exports: Exports) -> None:
    _, key = await exports.api.make_organization("other")
    await exports.api.store.take(run_event("theirs", organization="other"))
    asked = await exports.ask("ndjson", key=key)
    async with exports.working():
        async with asyncio.timeout(10):
            await exports.api.get(f"{PATH}/{asked['id']}", {"wait": "9"}, key=key)
    answer = await exports.api.send("GET", f"{PATH}/{asked['id']}/file", key=key)
    assert [orjson.loads(line)["run_id"] for line in (await answer.read()).splitlines()] == ["theirs"]


async def test_a_viewer_may_not_export(exports: Exports) -> None:
    viewer = (await exports.api.make_key("viewer")).key
    await exports.ask(status=403, key=viewer)


async def test_a_key_of_one_project_exports_that_project_alone(exports: Exports) -> None:
    await exports.api.store.take(run_event("run_of_bank", project_id="bank"))
    key = (await exports.api.make_key("engineer", project_id="bank")).key
    unseen = await exports.ask()
    await exports.ask(status=403, key=key, filter={"project_id": "shop"})
    asked = await exports.ask("ndjson", key=key)
    async with exports.working():
        job = await exports.done(asked["id"])
    assert [orjson.loads(line)["run_id"] for line in (await exports.file(job)).splitlines()] == ["run_of_bank"]
    await exports.api.error(f"{PATH}/{unseen['id']}", 404, key=key)
    assert [seen["id"] for seen in (await exports.api.get(PATH, key=key))["data"]] == [asked["id"]]


async def test_a_canceled_job_stops_while_it_runs_and_leaves_no_file(exports: Exports, tmp_path: Path) -> None:
    exports.exporter._storage = gate = Blocked(exports.storage)  # type: ignore[assignment]
    asked = await exports.ask()
    async with exports.working():
        await asyncio.wait_for(gate.waiting.wait(), 10)
        assert (await exports.job(asked["id"]))["status"] == "running"
        assert (await exports.api.send("DELETE", f"{PATH}/{asked['id']}")).status == 204
        assert (await exports.job(asked["id"]))["status"] == "canceled"
        await asyncio.sleep(2.5)  # a heartbeat
        gate.release.set()
        await asyncio.sleep(0.2)
    assert (await exports.job(asked["id"]))["status"] == "canceled"
    assert files(exports, tmp_path) == []


async def test_nobody_sees_a_file_before_it_is_whole(exports: Exports, tmp_path: Path) -> None:
    exports.exporter._storage = gate = Blocked(exports.storage)  # type: ignore[assignment]
    asked = await exports.ask()
    async with exports.working():
        await asyncio.wait_for(gate.waiting.wait(), 10)
        assert (await exports.api.send("GET", f"{PATH}/{asked['id']}/file")).status == 409
        assert [path for path in files(exports, tmp_path) if "#" not in path.name] == []
        gate.release.set()
        await exports.done(asked["id"])


async def test_a_deleted_job_is_gone_with_its_file(exports: Exports, tmp_path: Path) -> None:
    job = await exports.make()
    assert (await exports.api.send("DELETE", f"{PATH}/{job['id']}")).status == 204
    await exports.api.error(f"{PATH}/{job['id']}", 404)
    assert (await exports.api.send("DELETE", f"{PATH}/{job['id']}")).status == 404
    assert files(exports, tmp_path) == []


async def test_an_expired_job_says_so_and_its_file_is_deleted(exports: Exports, tmp_path: Path) -> None:
    job = await exports.make(filter={"run_id": "run_1"})
    await exports.exporter.delete_expired_files()
    assert (await exports.job(job["id"]))["status"] == "succeeded"
    await exports.api.store.pool.execute("UPDATE exports SET expires_at = now() - interval '1 second'")
    await exports.exporter.delete_expired_files()
    assert (await exports.job(job["id"]))["status"] == "expired"
    assert (await exports.api.error(f"{PATH}/{job['id']}/file", 410))["code"] == "gone"
    assert files(exports, tmp_path) == []
    assert await listed_artifacts(exports) == []


async def test_a_file_that_no_job_owns_is_deleted_after_a_day_and_no_other(exports: Exports, tmp_path: Path) -> None:
    await exports.make()
    await exports.ask()
    [owned] = files(exports, tmp_path)
    for name in ("old.csv", "new.csv"):
        await write(exports.storage, f"exports/1/exp_{'0' * 32}/{name}", b"left by a worker that died")
    day_ago = time.time() - timedelta(days=1, minutes=1).total_seconds()
    for path in files(exports, tmp_path):
        if path.name != "new.csv":
            os.utime(path, (day_ago, day_ago))
    await exports.exporter.delete_orphaned_files()
    assert {path.name for path in files(exports, tmp_path)} == {owned.name, "new.csv"}


async def test_a_file_that_no_job_owns_is_deleted_wherever_files_are_kept(database_url: str, storage_url: str) -> None:
    async with exporting(database_url, storage_url) as exports:
        await exports.api.store.take(run_event("run_1", [result("a")]))
        job = await exports.make()
        unowned = f"exports/1/exp_{'0' * 32}/left.csv"
        await write(exports.storage, unowned, b"left by a worker that died")
        await exports.exporter.delete_orphaned_files(timedelta(0))
        with pytest.raises(NotFound):
            await read(exports.storage, unowned)
        assert await exports.file(job)


async def test_a_file_that_was_deleted_behind_our_back_is_a_404_with_the_reason(
    exports: Exports, tmp_path: Path
) -> None:
    job = await exports.make()
    for path in files(exports, tmp_path):
        path.unlink()
    assert "no longer in storage" in (await exports.api.error(f"{PATH}/{job['id']}/file", 404))["message"]


async def test_so_it_is_where_a_redirect_would_lead_to_it(database_url: str, s3_url: str) -> None:
    async with exporting(database_url, new_bucket(s3_url), artifacts_redirect=True) as exports:
        job = await exports.make()
        assert await exports.file(job)
        await exports.storage.delete(await exports.api.store.pool.fetchval("SELECT path FROM exports"))
        assert "no longer in storage" in (await exports.api.error(f"{PATH}/{job['id']}/file", 404))["message"]


async def listed_artifacts(exports: Exports) -> list[Any]:
    results = await exports.api.walk("/v1/results", {"run_id": "run_1"})
    per_result = [await exports.api.walk(f"/v1/results/{one['id']}/artifacts") for one in results]
    assert all(artifacts == per_result[0] for artifacts in per_result)
    return per_result[0]


async def test_each_result_of_a_run_lists_the_exports_of_the_run(exports: Exports) -> None:
    await exports.make()
    job = await exports.make(compression="zstd", filter={"run_id": "run_1"})
    [artifact] = await listed_artifacts(exports)
    assert (artifact["kind"], artifact["name"]) == ("export", "results-run_1.csv.zst")
    assert (artifact["size"], artifact["sha256"]) == (job["size"], job["sha256"])
    assert artifact["expires_at"] == job["expires_at"]
    await exports.api.send("DELETE", f"{PATH}/{job['id']}")
    assert await listed_artifacts(exports) == []


async def told(exports: Exports) -> list[tuple[str, Any]]:
    rows = await exports.api.store.pool.fetch("SELECT type, data::text FROM events WHERE type LIKE 'export.%'")
    return [(row["type"], orjson.loads(row["data"])["status"]) for row in rows]


async def test_the_end_of_a_job_is_an_event(exports: Exports) -> None:
    await exports.make()
    assert await told(exports) == [("export.completed", "succeeded")]


@pytest.mark.usefixtures("no_waits")
async def test_a_storage_that_is_full_for_a_while_is_tried_again(exports: Exports) -> None:
    exports.exporter._storage = Full(exports.storage, times=2)  # type: ignore[assignment]
    asked = await exports.ask()
    async with exports.working():
        assert (await exports.done(asked["id"]))["status"] == "succeeded"


@pytest.mark.usefixtures("no_waits")
async def test_three_failures_end_a_job_with_a_reason_that_people_understand(exports: Exports) -> None:
    exports.exporter._storage = Full(exports.storage, times=9)  # type: ignore[assignment]
    asked = await exports.ask()
    async with exports.working():
        job = await exports.done(asked["id"])
    assert (job["status"], job["error"], job["file_url"]) == ("failed", "the file storage is full", None)
    assert await told(exports) == [("export.failed", "failed")]
    assert exports.exporter._storage._times == 6  # type: ignore[attr-defined]


async def test_a_try_that_failed_leaves_nothing_of_its_file_in_memory(exports: Exports) -> None:
    async def fail(*_: Any) -> None:
        async with asyncio.TaskGroup():
            raise Unavailable("the file storage is full")

    await exports.ask()
    claimed = await exports.exporter.claim(1)
    assert claimed
    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(FileWriter, "write", fail)
        gc.disable()
        try:
            assert await exports.exporter.run(claimed) == "queued"
            assert not [held for held in gc.get_objects() if isinstance(held, FileWriter)]
        finally:
            gc.enable()


async def test_a_worker_that_is_told_to_stop_gives_its_job_back_untried(exports: Exports) -> None:
    storage, exports.exporter._storage = exports.storage, (gate := Blocked(exports.storage))  # type: ignore[assignment]
    asked = await exports.ask()
    async with exports.working():
        await asyncio.wait_for(gate.waiting.wait(), 10)
    assert (await exports.job(asked["id"]))["status"] == "queued"
    assert await exports.api.store.pool.fetchval("SELECT attempt_count FROM exports") == 0
    exports.exporter._storage = storage
    async with exports.working():
        assert (await exports.done(asked["id"]))["status"] == "succeeded"


async def test_a_job_whose_lease_ran_out_is_taken_over_and_the_first_worker_writes_nothing(exports: Exports) -> None:
    asked = await exports.ask()
    first = await exports.exporter.claim(2)
    assert first is not None
    assert await exports.exporter.claim(2) is None
    await exports.api.store.pool.execute("UPDATE exports SET lease_until = now() - interval '1 second'")
    async with exports.working():
        job = await exports.done(asked["id"])
    await exports.exporter.run(first)
    assert await exports.job(asked["id"]) == job
    await exports.file(job)


async def test_a_job_that_kills_its_workers_ends_as_failed(exports: Exports) -> None:
    asked = await exports.ask()
    for _ in range(3):
        assert await exports.exporter.claim(2) is not None
        await exports.api.store.pool.execute("UPDATE exports SET lease_until = now() - interval '1 second'")
    assert await exports.exporter.claim(2) is None
    await exports.exporter.fail_abandoned()
    job = await exports.job(asked["id"])
    assert (job["status"], job["error"]) == ("failed", "a worker crashed in each of 3 attempts")


async def test_one_organization_does_not_keep_another_waiting(exports: Exports) -> None:
    _, key = await exports.api.make_organization("other")
    mine = [(await exports.ask())["id"] for _ in range(5)]
    theirs = (await exports.ask(key=key))["id"]
    claimed = [claim.claim.job_id for _ in range(6) if (claim := await exports.exporter.claim(2))]
    assert claimed == [mine[0], theirs, mine[1]]
