"""Retention of artifacts, results, and runs with separate periods, pinned runs, and the dry run."""

import asyncio
from collections.abc import AsyncIterator, Sequence
from contextlib import suppress
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from service.retention import expiry
from service.retention import store as retention_store
from service.retention.expiry import ExpiredSize, count_expired, find_expired_rows
from service.retention.files import delete_queued_files
from service.retention.model import RetentionPolicy
from service.storage import Storage
from tests.retention.test_apply_retention import RESULTS, Scene, exists, partitions_of
from tests.run_events import result, run_event
from tests.served import serve

pytestmark = [pytest.mark.slow, pytest.mark.usefixtures("no_partitions")]

NOW = datetime.now(UTC)
OLDEST, OLD, RECENT = NOW - timedelta(days=200), NOW - timedelta(days=100), NOW - timedelta(days=5)
DAYS_60, DAYS_150 = timedelta(days=60), timedelta(days=150)
KEEP = timedelta(days=3653)


def policy(
    artifacts: timedelta = KEEP,
    results: timedelta = KEEP,
    runs: timedelta | None = None,
    grace: timedelta | None = None,
) -> RetentionPolicy:
    return RetentionPolicy(artifacts, results, runs, grace or timedelta(0))


@pytest.fixture
async def scene(database_url: str, tmp_path: Path) -> AsyncIterator[Scene]:
    """Runs with one uploaded file each: oldest, old, pinned (in the month of old), and recent."""
    async with serve(database_url, artifacts_url=tmp_path.as_uri()) as api:
        scene = Scene(api, Storage(tmp_path.as_uri()), database_url)
        for run_id, time in (("oldest", OLDEST), ("old", OLD), ("pinned", OLD), ("recent", RECENT)):
            await scene.add_run(run_id, time)
        assert (await api.send("PUT", "/v1/runs/pinned/pin")).status == 204
        yield scene


async def apply(scene: Scene, chosen: RetentionPolicy) -> list[expiry.RemovedMonth]:
    removed = await expiry.apply_retention(scene.api.store.pool, scene.storage, scene.database_url, chosen)
    await delete_queued_files(scene.api.store.pool, scene.storage)
    return removed


async def apply_until_nothing_is_removed(scene: Scene, chosen: RetentionPolicy) -> None:
    for _ in range(20):
        if not await apply(scene, chosen):
            return
    raise AssertionError("each round removes something")


async def rows(scene: Scene, table: str) -> dict[str, int]:
    """Return the number of rows of each run in a table."""
    found = await scene.api.store.pool.fetch(
        f"SELECT run_id, count(*) FROM {table} JOIN runs USING (org_id, run_key) GROUP BY run_id"
    )
    return dict(map(tuple, found))


async def stored_files(scene: Scene) -> set[str]:
    """Return the runs whose uploaded file is in storage."""
    found = await scene.api.store.pool.fetch(
        "SELECT run_id, path FROM artifacts JOIN runs USING (org_id, run_key) WHERE path IS NOT NULL"
    )
    return {row["run_id"] for row in found if await exists(scene.storage, row["path"])}


async def count_files(scene: Scene) -> int:
    return sum([len(batch) async for batch in scene.storage.list_all("artifacts")])


async def test_artifacts_can_expire_before_the_results(scene: Scene) -> None:
    await apply_until_nothing_is_removed(scene, policy(artifacts=DAYS_60))
    assert await rows(scene, "artifacts") == {"pinned": 2, "recent": 2}
    assert await stored_files(scene) == {"pinned", "recent"}
    assert await count_files(scene) == 2
    assert set(await rows(scene, "results")) == {"oldest", "old", "pinned", "recent"}
    assert await scene.partitions() == partitions_of(OLDEST) | partitions_of(OLD) | partitions_of(RECENT)
    assert not any(run["results_expired"] for run in await scene.api.list_all("/v1/runs"))


async def test_pinned_run_keeps_its_results_and_artifacts(scene: Scene) -> None:
    await apply_until_nothing_is_removed(scene, policy(DAYS_60, DAYS_60))
    assert await rows(scene, "results") == {"pinned": 2, "recent": 2}
    assert await rows(scene, "result_details") == {"pinned": 1, "recent": 1}
    assert await stored_files(scene) == {"pinned", "recent"}
    assert await count_files(scene) == 2
    expired = {run["run_id"]: run["results_expired"] for run in await scene.api.list_all("/v1/runs")}
    assert expired == {"oldest": True, "old": True, "pinned": False, "recent": False}
    assert await scene.partitions() == partitions_of(OLD) | partitions_of(RECENT)


async def test_month_is_dropped_after_its_last_run_is_unpinned(scene: Scene) -> None:
    await apply_until_nothing_is_removed(scene, policy(DAYS_60, DAYS_60))
    assert (await scene.api.send("DELETE", "/v1/runs/pinned/pin")).status == 204
    await apply_until_nothing_is_removed(scene, policy(DAYS_60, DAYS_60))
    assert await scene.partitions() == partitions_of(RECENT)
    assert await count_files(scene) == 1


async def test_retained_month_does_not_block_the_removal_of_later_months(scene: Scene) -> None:
    await scene.api.send("PUT", "/v1/runs/oldest/pin")
    await apply_until_nothing_is_removed(scene, policy(DAYS_60, DAYS_60))
    assert await rows(scene, "results") == {"oldest": 2, "pinned": 2, "recent": 2}


async def test_run_that_is_pinned_after_its_results_expired_keeps_only_itself(scene: Scene) -> None:
    await apply(scene, policy(DAYS_150, DAYS_150))
    await scene.api.send("PUT", "/v1/runs/oldest/pin")
    await apply_until_nothing_is_removed(scene, policy(DAYS_60, DAYS_60, DAYS_60))
    assert {run["run_id"] for run in await scene.api.list_all("/v1/runs")} == {"oldest", "pinned", "recent"}


async def test_run_that_is_pinned_after_an_interrupted_removal_does_not_keep_its_artifacts(scene: Scene) -> None:
    await scene.api.store.pool.execute("UPDATE runs SET results_expired = true WHERE run_id = 'old'")
    await scene.api.send("PUT", "/v1/runs/old/pin")
    await apply_until_nothing_is_removed(scene, policy(DAYS_60, DAYS_60))
    assert await stored_files(scene) == {"pinned", "recent"}
    assert await rows(scene, "results") == {"pinned": 2, "recent": 2}


async def test_run_that_is_pinned_during_the_removal_does_not_retain_a_part_of_its_month(
    scene: Scene, monkeypatch: pytest.MonkeyPatch
) -> None:

    async def pin_first(*arguments: Any) -> Any:
        await scene.api.send("PUT", "/v1/runs/oldest/pin")
        return await find_expired_rows(*arguments)

    monkeypatch.setattr("service.retention.expiry.find_expired_rows", pin_first)
    await apply(scene, policy(DAYS_150, DAYS_150))
    assert not partitions_of(OLDEST) & await scene.partitions()
    run = await scene.api.get("/v1/runs/oldest")
    assert (run["pinned"], run["results_expired"]) == (True, True)


async def test_run_that_is_pinned_while_artifacts_are_deleted_keeps_its_artifacts(scene: Scene) -> None:
    pool = scene.api.store.pool
    async with pool.acquire() as connection:
        (range_,) = await retention_store.find_ranges(
            connection, "artifacts", retention_store.month_range(scene.api.org_id, OLDEST.date().replace(day=1))
        )
        async with pool.acquire() as other, other.transaction():
            await other.execute("UPDATE runs SET pinned = true WHERE run_id = 'oldest'")
            deleting = asyncio.create_task(retention_store.delete_rows(connection, "artifacts", range_, 100))
            await asyncio.wait({deleting}, timeout=0.3)
            assert not deleting.done()
        assert await deleting == 0
    assert "oldest" in await stored_files(scene)


async def test_runs_expire_after_their_results_and_only_if_a_period_is_set(scene: Scene) -> None:
    await apply_until_nothing_is_removed(scene, policy(DAYS_60, DAYS_60))
    assert len(await scene.api.list_all("/v1/runs")) == 4
    await apply_until_nothing_is_removed(scene, policy(DAYS_60, DAYS_60, DAYS_150))
    assert {run["run_id"] for run in await scene.api.list_all("/v1/runs")} == {"old", "pinned", "recent"}
    await apply_until_nothing_is_removed(scene, policy(DAYS_60, DAYS_60, DAYS_60))
    assert {run["run_id"] for run in await scene.api.list_all("/v1/runs")} == {"pinned", "recent"}
    assert await scene.api.store.pool.fetchval("SELECT count(*) FROM run_parts") == 2
    assert len(await scene.api.store.receipts()) == 4
    assert await rows(scene, "results") == {"pinned": 2, "recent": 2}


async def test_each_class_waits_for_its_own_grace_period(scene: Scene) -> None:
    every = policy(DAYS_60, DAYS_60, DAYS_60, timedelta(days=7))
    assert await apply(scene, every) == []
    waiting = await scene.api.store.pool.fetchval("SELECT count(*) FROM runs WHERE NOT results_expired")
    assert waiting == 4
    assert set(await rows(scene, "results")) == {"oldest", "old", "pinned", "recent"}


@pytest.mark.parametrize("limit", [1, 2])
async def test_rows_are_deleted_in_steps_and_an_interrupted_deletion_is_continued(
    scene: Scene, monkeypatch: pytest.MonkeyPatch, limit: int
) -> None:
    monkeypatch.setattr(expiry, "_MAX_ROWS", limit)
    await scene.api.store.ingest(
        run_event("many", [result(f"case {n}", "failed") for n in range(9)], time=OLD.isoformat())
    )
    delete_rows, interruptions = retention_store.delete_rows, 0

    async def interrupt(*arguments: Any) -> int:
        nonlocal interruptions
        count = await delete_rows(*arguments)
        assert count <= 3 * limit  # results, details, and shards
        if count:
            interruptions += 1
            raise ConnectionError
        return count

    monkeypatch.setattr(retention_store, "delete_rows", interrupt)
    for _ in range(30):
        with suppress(ConnectionError):
            await apply(scene, policy(DAYS_60, DAYS_60))
    assert interruptions > 3
    assert await rows(scene, "results") == {"pinned": 2, "recent": 2}
    assert await rows(scene, "result_details") == {"pinned": 1, "recent": 1}


async def counted(scene: Scene, chosen: RetentionPolicy) -> Sequence[ExpiredSize]:
    async with scene.api.store.pool.acquire() as connection:
        return await count_expired(connection, chosen)


@pytest.mark.parametrize(
    "chosen",
    [policy(DAYS_60), policy(DAYS_60, DAYS_60), policy(DAYS_60, DAYS_150, DAYS_150), policy(DAYS_60, DAYS_60, DAYS_60)],
    ids=["artifacts", "results", "separate", "all"],
)
async def test_dry_run_counts_exactly_the_rows_that_the_rounds_delete(scene: Scene, chosen: RetentionPolicy) -> None:
    await scene.api.make_organization("other")
    other = run_event("blog run", RESULTS, time=OLD.isoformat(), project_id="blog", shard=1)
    other["data"]["organization"] = "other"
    await scene.api.store.ingest(other)
    before = await table_counts(scene)
    found = await counted(scene, chosen)
    assert await table_counts(scene) == before  # a dry run deletes nothing
    await apply_until_nothing_is_removed(scene, chosen)
    after = await table_counts(scene)
    deleted = {key: before[key] - after.get(key, 0) for key in before if before[key] != after.get(key, 0)}
    assert {(size.data, size.organization, size.project_id): size.rows for size in found} == deleted
    assert all(size.bytes > 0 for size in found)
    assert await counted(scene, chosen) == []


async def table_counts(scene: Scene) -> dict[tuple[str, str, str], int]:
    """Return the number of rows of each class, organization, and project. Runs that were deleted keep their project."""
    found = await scene.api.store.pool.fetch(
        "SELECT data, slug, CASE slug WHEN 'acme' THEN 'shop' ELSE 'blog' END, count(*) FROM ("
        " SELECT 'artifacts' AS data, org_id FROM artifacts UNION ALL SELECT 'runs', org_id FROM runs"
        " UNION ALL SELECT 'results', org_id FROM results UNION ALL SELECT 'results', org_id FROM result_details"
        " UNION ALL SELECT 'results', org_id FROM shard_results) rows"
        " JOIN organizations USING (org_id) GROUP BY 1, 2, 3"
    )
    return {(row[0], row[1], row[2]): row[3] for row in found}


async def test_bytes_of_artifacts_include_their_files(scene: Scene) -> None:
    before = {size.data: size.bytes for size in await counted(scene, policy(DAYS_150))}
    await scene.api.store.pool.execute("UPDATE artifacts SET size = size + 1000000 WHERE path IS NOT NULL")
    after = {size.data: size.bytes for size in await counted(scene, policy(DAYS_150))}
    assert after["artifacts"] - before["artifacts"] == 1_000_000
