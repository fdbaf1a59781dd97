"""Removal of months after the retention, with concurrent readers, interruptions, and operators."""

import asyncio
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, cast

import asyncpg
import pytest

from service.database import partitions
from service.database.database import as_owner
from service.database.errors import RowDeleted, is_conflict
from service.ingest.ingest_runs import RunIngest
from service.ingest.store_batch import BatchStore
from service.retention import cleanup
from service.retention import store as retention_store
from service.retention.cleanup import delete_expired_events, delete_expired_receipts
from service.retention.expiry import ClocksDiffer, apply_retention
from service.retention.model import RetentionPolicy
from service.storage import Storage
from tests.exporting import exporting
from tests.run_events import result, run_event
from tests.served import Api, serve
from tests.stored import messages

pytestmark = [pytest.mark.slow, pytest.mark.usefixtures("no_partitions")]

RETENTION = timedelta(days=30)
NOW = datetime.now(UTC)
OLD, NEW = NOW - timedelta(days=100), NOW - timedelta(days=5)
OLD_RESULTS = f"results_{OLD:%Y_%m}"
TABLES = ("results", "result_details", "shard_results", "artifacts")
RESULTS = [
    result("logs in"),
    result("pays", "failed", failure={"message": "no"}, artifacts=[{"name": "a.png", "uri": "s3://x"}]),
]


@dataclass
class Scene:
    """A server and its storage, with functions that add runs and remove expired results."""

    api: Api
    storage: Storage
    database_url: str

    async def expire(self, retention: timedelta = RETENTION, grace: timedelta = timedelta(0)) -> None:
        policy = RetentionPolicy(retention, retention, None, grace)
        await apply_retention(self.api.store.pool, self.storage, self.database_url, policy)

    async def add_run(self, run_id: str, completed_at: datetime) -> str:
        """Add a run with an uploaded file, and return the path of the file in storage."""
        await self.api.store.ingest(run_event(run_id, RESULTS, time=completed_at.isoformat()))
        first = (await self.api.get("/v1/results", {"run_id": run_id}))["data"][0]
        headers = {"Authorization": f"Bearer {self.api.key}"}
        put = await self.api.http.put(f"/v1/results/{first['id']}/artifacts/log.txt", data=b"log", headers=headers)
        assert put.status in (200, 201), await put.text()
        pool: Any = self.api.store.pool
        path: str = await pool.fetchval(
            "SELECT path FROM artifacts JOIN runs USING (org_id, run_key) WHERE run_id = $1 AND path IS NOT NULL",
            run_id,
        )
        return path

    async def partitions(self) -> set[str]:
        """Return the existing partitions, attached or detached."""
        rows = await self.api.store.pool.fetch(
            "SELECT relname FROM pg_class WHERE relkind = 'r' AND relname ~ '_[0-9]{4}_[0-9]{2}(_[0-9]+)?$'"
        )
        return {row["relname"] for row in rows}

    async def is_pending(self) -> bool:
        """Return whether the detachment of a partition is pending."""
        return bool(await self.api.store.pool.fetchval("SELECT bool_or(inhdetachpending) FROM pg_inherits"))

    async def assert_only_the_old_month_is_removed(self) -> None:
        assert await self.partitions() == partitions_of(NEW)
        assert {item["run_id"] for item in await self.api.list_all("/v1/results")} == {"new"}
        assert (await self.api.get("/v1/runs/old"))["results_expired"] is True
        assert (await self.api.get("/v1/runs/new"))["results_expired"] is False


def partitions_of(time: datetime) -> set[str]:
    return {f"{table}_{time:%Y_%m}" for table in TABLES}


@pytest.fixture
async def scene(database_url: str, storage_url: str) -> AsyncIterator[Scene]:
    async with serve(database_url, artifacts_url=storage_url) as api:
        yield Scene(api, Storage(storage_url), database_url)


@pytest.fixture
async def local(database_url: str, tmp_path: Path) -> AsyncIterator[Scene]:
    """A scene with an old and a new run, with storage in a directory."""
    async with serve(database_url, artifacts_url=tmp_path.as_uri()) as api:
        scene = Scene(api, Storage(tmp_path.as_uri()), database_url)
        await scene.add_run("old", OLD)
        await scene.add_run("new", NEW)
        yield scene


async def exists(storage: Storage, path: str) -> bool:
    return path in [found async for batch in storage.list_all("artifacts") for found in batch]


async def test_removal_includes_files_but_keeps_the_runs(scene: Scene) -> None:
    old, new = await scene.add_run("old", OLD), await scene.add_run("new", NEW)
    before = await scene.api.get("/v1/runs/old")
    shown = (await scene.api.get("/v1/results", {"run_id": "old"}))["data"][0]["id"]
    assert before["results_expired"] is False
    await scene.expire()
    await scene.assert_only_the_old_month_is_removed()
    assert await scene.api.get("/v1/runs/old") == {**before, "results_expired": True}
    assert before["counts"]["failed"] == before["counts"]["passed"] == 1
    await scene.api.error(f"/v1/results/{shown}", 404)
    assert [await exists(scene.storage, path) for path in (old, new)] == [False, True]
    [case, _] = (await scene.api.get("/v1/cases", {"project_id": "shop"}))["data"]
    assert case["runs"] == 1
    assert len((await scene.api.get(f"/v1/cases/{case['id']}/history"))["data"]) == 1


@pytest.mark.parametrize("limit", [1, 2, 3])
async def test_files_are_found_with_any_number_of_artifacts_per_query(
    local: Scene, monkeypatch: pytest.MonkeyPatch, limit: int
) -> None:
    monkeypatch.setattr("service.retention.expiry._MAX_ARTIFACTS", limit)
    old = [await local.add_run(f"old {number}", OLD) for number in range(3)]
    await local.expire()
    assert [await exists(local.storage, path) for path in old] == [False] * 3


async def test_month_is_not_removed_before_its_last_result_has_expired(local: Scene) -> None:
    first = OLD.replace(day=1, hour=0)
    await local.add_run("first", first)
    await local.expire(datetime.now(UTC) - first - timedelta(days=2))
    assert await local.partitions() == partitions_of(OLD) | partitions_of(NEW)
    assert (await local.api.get("/v1/runs/first"))["results_expired"] is False


@pytest.mark.one_server  # DETACH CONCURRENTLY
async def test_removal_blocks_no_request_and_continues_after_a_long_reader(local: Scene) -> None:
    waits: list[float] = []

    async def use() -> None:
        while True:
            started = time.monotonic()
            assert (await local.api.get("/v1/results", {"status": "failed"}))["data"]
            await local.api.store.ingest(
                run_event("new", [result()], time=(NEW + timedelta(seconds=len(waits))).isoformat())
            )
            waits.append(time.monotonic() - started)
            await asyncio.sleep(0.02)

    async with reading(local):
        using = asyncio.create_task(use())
        try:
            with pytest.raises(RowDeleted):
                await local.expire()
        finally:
            using.cancel()
            await asyncio.wait({using})
        assert using.cancelled()
        assert len(waits) > 5
        assert max(waits) < 1.5
        assert await local.is_pending()
        assert (await local.api.get("/v1/runs/old"))["results_expired"] is True
    await local.expire()
    assert not await local.is_pending()
    await local.assert_only_the_old_month_is_removed()


@asynccontextmanager
async def reading(scene: Scene) -> AsyncIterator[None]:
    """Keep a transaction open that has read the old results."""
    connection = await asyncpg.connect(scene.database_url)
    async with connection.transaction():
        await connection.fetch("SELECT count(*) FROM results")
        yield
    await connection.close()


@pytest.mark.parametrize("steps", range(2 * len(TABLES)))
async def test_interrupted_removal_is_continued_by_the_next_call(
    local: Scene, monkeypatch: pytest.MonkeyPatch, steps: int
) -> None:
    class Interruption(Exception):
        pass

    remaining = steps + 1  # the first query finds no interrupted removal
    run_next_step = partitions.run_next_drop_step

    async def interrupt(*arguments: Any) -> str | None:
        nonlocal remaining
        remaining -= 1
        if remaining < 0:
            raise Interruption
        return await run_next_step(*arguments)

    with monkeypatch.context() as patch:
        patch.setattr(partitions, "run_next_drop_step", interrupt)
        with pytest.raises(Interruption):
            await local.expire()
    assert (await local.api.get("/v1/runs/old"))["results_expired"] is True
    assert len(await local.partitions()) == 2 * len(TABLES) - steps // 2
    await local.expire()
    await local.assert_only_the_old_month_is_removed()


@pytest.mark.one_server  # DETACH CONCURRENTLY
async def test_interrupted_removal_is_continued_after_the_retention_was_extended(local: Scene) -> None:
    async with reading(local):
        with pytest.raises(RowDeleted):
            await local.expire()
    await local.expire(timedelta(days=3653))
    assert await local.partitions() == partitions_of(NEW) | partitions_of(OLD) - {OLD_RESULTS}
    await local.add_run("late", OLD)
    assert (await local.api.get("/v1/runs/late"))["results_expired"] is False


async def test_ingest_creates_a_removed_month_again(local: Scene) -> None:
    await local.expire()
    late = [run_event(name, RESULTS, time=time.isoformat()) for name, time in [("late", OLD), ("other", NEW)]]
    assert [outcome.status for outcome in await local.api.store.ingest(*late)] == ["stored", "stored"]
    assert await local.partitions() == partitions_of(OLD) | partitions_of(NEW)


async def test_late_event_of_an_archived_month_is_stored_in_a_new_partition(local: Scene) -> None:
    for number in range(2):
        await detach_manually(local, partition=f"{OLD_RESULTS}_2" if number else OLD_RESULTS)
        (outcome,) = await local.api.store.ingest(run_event(f"late {number}", RESULTS, time=OLD.isoformat()))
        assert outcome.status == "stored"
        assert len(await local.api.list_all("/v1/results", {"run_id": f"late {number}"})) == len(RESULTS)
    archived = {OLD_RESULTS, f"{OLD_RESULTS}_2"}
    assert await local.partitions() == partitions_of(OLD) | partitions_of(NEW) | archived | {f"{OLD_RESULTS}_3"}
    await local.expire()
    assert await local.partitions() == partitions_of(NEW) | archived


async def test_partition_that_an_operator_detached_is_not_dropped(local: Scene) -> None:
    await detach_manually(local)
    await local.expire()
    assert await local.partitions() == partitions_of(NEW) | {OLD_RESULTS}


@pytest.mark.parametrize("retention", [RETENTION, timedelta(days=3653)])
@pytest.mark.parametrize("option", ["", pytest.param("CONCURRENTLY", marks=pytest.mark.one_server)])
async def test_partition_that_an_operator_detaches_after_a_failed_removal_is_not_dropped(
    local: Scene, option: str, retention: timedelta
) -> None:
    async with locking(local):
        with pytest.raises(RowDeleted):
            await local.expire()
    await detach_manually(local, option)
    await local.expire(retention)
    assert OLD_RESULTS in await local.partitions()


@pytest.mark.one_server  # DETACH CONCURRENTLY
async def test_lock_between_mark_and_detachment_leaves_no_mark(local: Scene) -> None:
    class LockedBeforeDetachment:
        """The connection of the owner; another connection takes the lock before the detachment."""

        def __getattr__(self, name: str) -> Any:
            return getattr(owner, name)

        async def execute(self, statement: str) -> None:
            if "CONCURRENTLY" not in statement:
                await owner.execute(statement)
                return
            async with locking(local):
                await owner.execute(statement)

    async with as_owner(local.database_url) as owner:
        with pytest.raises(RowDeleted):
            await partitions.run_next_drop_step(cast("asyncpg.Connection", LockedBeforeDetachment()), OLD.date())
    await detach_manually(local)
    await local.expire()
    assert OLD_RESULTS in await local.partitions()


async def test_partition_that_was_attached_again_can_be_detached_by_an_operator(local: Scene) -> None:
    async with as_owner(local.database_url) as owner:
        await partitions.run_next_drop_step(owner, OLD.date())
        low, high = partitions.key_range(partitions.month_of(OLD))
        bounds = f"FOR VALUES FROM ('{low}') TO ('{high}')"
        await owner.execute(f"ALTER TABLE results ATTACH PARTITION {OLD_RESULTS} {bounds}")
    await local.expire(timedelta(days=3653))
    await detach_manually(local)
    await local.expire()
    assert OLD_RESULTS in await local.partitions()


async def detach_manually(scene: Scene, option: str = "", partition: str = OLD_RESULTS) -> None:
    async with as_owner(scene.database_url) as owner:
        await owner.execute(f"ALTER TABLE results DETACH PARTITION {partition} {option}")


@asynccontextmanager
async def locking(scene: Scene) -> AsyncIterator[None]:
    """Take a lock that prevents the detachment of partitions, like ANALYZE and CREATE INDEX."""
    async with as_owner(scene.database_url) as other, other.transaction():
        await other.execute("LOCK TABLE ONLY results IN SHARE UPDATE EXCLUSIVE MODE")
        yield


async def test_one_round_removes_only_the_oldest_month(local: Scene) -> None:
    older = NOW - timedelta(days=200)
    await local.add_run("older", older)
    await local.expire()
    assert await local.partitions() == partitions_of(OLD) | partitions_of(NEW)
    assert [(await local.api.get(f"/v1/runs/{run}"))["results_expired"] for run in ("older", "old")] == [True, False]


async def test_month_stays_unchanged_during_the_grace_period(local: Scene) -> None:
    await local.expire(grace=timedelta(days=7))
    await observed_hours_ago(local, 100 * 24)
    await local.expire(grace=timedelta(days=7))  # the clock jumped
    assert await local.partitions() == partitions_of(OLD) | partitions_of(NEW)
    assert (await local.api.get("/v1/runs/old"))["results_expired"] is False
    for _ in range(4):
        await observed_hours_ago(local, 1)
        await local.expire(grace=timedelta(hours=5))
    await local.assert_only_the_old_month_is_removed()


async def test_corrected_retention_ends_the_grace_period(local: Scene) -> None:
    await local.expire(grace=timedelta(hours=3))
    for retention in (timedelta(days=3653), RETENTION, RETENTION):
        await observed_hours_ago(local, 2)
        await local.expire(retention, grace=timedelta(hours=3))
    assert await local.partitions() == partitions_of(OLD) | partitions_of(NEW)


async def observed_hours_ago(scene: Scene, hours: int) -> None:
    async with as_owner(scene.database_url) as owner:
        await owner.execute("UPDATE expiring_months SET seen_at = now() - $1::interval", timedelta(hours=hours))


@pytest.mark.parametrize("days", [-400, 400])
async def test_nothing_is_removed_while_the_clocks_differ(
    local: Scene, monkeypatch: pytest.MonkeyPatch, days: int
) -> None:
    read_clock = retention_store.read_clock

    async def read_wrong_clock(connection: asyncpg.Connection) -> datetime:
        return await read_clock(connection) + timedelta(days=days)

    monkeypatch.setattr(retention_store, "read_clock", read_wrong_clock)
    with pytest.raises(ClocksDiffer, match="differ by more than"):
        await local.expire()
    pool = local.api.store.pool
    for delete in (delete_expired_receipts, delete_expired_events):
        with pytest.raises(ClocksDiffer):
            await delete(pool)
    assert await local.partitions() == partitions_of(OLD) | partitions_of(NEW)
    assert len(await local.api.store.receipts()) == 2


async def test_concurrent_removals_are_safe(local: Scene) -> None:
    for months in range(4, 10):
        await local.add_run(f"older {months}", NOW - timedelta(days=31 * months))
    for _ in range(60):
        rounds = await asyncio.gather(*(local.expire() for _ in range(3)), return_exceptions=True)
        assert all(outcome is None or is_conflict(outcome) for outcome in rounds), rounds
        if rounds == [None] * 3 and await local.partitions() == partitions_of(NEW):
            break
    await local.assert_only_the_old_month_is_removed()


async def minutes(scene: Scene) -> list[tuple[str, int]]:
    """Return the rows of the minutes of failure groups, with their months."""
    rows = await scene.api.store.pool.fetch(
        "SELECT to_char(to_timestamp(minute * 60::bigint) AT TIME ZONE 'UTC', 'YYYY-MM') AS month, count(*)"
        " FROM failure_group_minutes GROUP BY month ORDER BY month"
    )
    return [tuple(row) for row in rows]


@pytest.mark.parametrize("examined", [1, 2, 1000])
async def test_minutes_of_failure_groups_are_deleted_only_in_dropped_months(
    local: Scene, monkeypatch: pytest.MonkeyPatch, examined: int
) -> None:
    monkeypatch.setattr(cleanup, "_MAX_MINUTES", examined)
    older = NOW - timedelta(days=200)
    for number in range(3):
        failures = [result("pays", "failed", failure={"message": f"no {'abc'[number]}"})]
        time = (older + timedelta(minutes=number)).isoformat()
        await local.api.store.ingest(run_event(f"older {number}", failures, time=time))
    await RunIngest(BatchStore(local.api.store.pool, timedelta(days=3653))).ingest(
        messages(run_event("older 3", failures, time=time))  # another process inserts the last row again
    )
    pool, months = local.api.store.pool, [f"{each:%Y-%m}" for each in (older, OLD, NEW)]
    await cleanup.delete_expired_minutes(pool, RETENTION)
    assert await minutes(local) == [(months[0], 4), (months[1], 1), (months[2], 1)]
    await local.expire()
    await cleanup.delete_expired_minutes(pool, timedelta(days=3653))
    assert await minutes(local) == [(months[0], 4), (months[1], 1), (months[2], 1)]
    await cleanup.delete_expired_minutes(pool, RETENTION)
    assert await minutes(local) == [(months[1], 1), (months[2], 1)]
    await local.expire()
    await cleanup.delete_expired_minutes(pool, RETENTION)
    assert await minutes(local) == [(months[2], 1)]


async def test_minutes_of_failure_groups_stay_with_a_pinned_run(local: Scene) -> None:
    """The month of the pinned run has a partition, and is between two months without partitions."""
    for run_id, days in (("older", 200), ("pinned", 150)):
        await local.add_run(run_id, NOW - timedelta(days=days))
    assert (await local.api.send("PUT", "/v1/runs/pinned/pin")).status == 204
    for _ in range(3):
        await local.expire()
    await cleanup.delete_expired_minutes(local.api.store.pool, RETENTION)
    assert await minutes(local) == [(f"{NOW - timedelta(days=150):%Y-%m}", 1), (f"{NEW:%Y-%m}", 1)]


async def test_export_file_is_stored_until_its_own_expiration(database_url: str, tmp_path: Path) -> None:
    async with exporting(database_url, tmp_path.as_uri()) as exports:
        scene = Scene(exports.api, exports.storage, database_url)
        await scene.add_run("old", OLD)
        export = await exports.run("csv", filter={"run_id": "old"})
        await scene.expire()
        assert (await exports.file(export)).count(b"\n") == 1 + len(RESULTS)
        empty = await exports.run("csv", filter={"run_id": "old"})
        assert empty["rows"] == 0
