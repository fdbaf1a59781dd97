"""A worker of a Citus cluster that hangs: it keeps its connections open, and responds to none."""

import asyncio
import time
from collections.abc import AsyncIterator
from contextlib import suppress
from typing import Final

import asyncpg
import pytest

from service.database import database
from service.database.database import BoundedPool
from service.database.engines import CITUS
from service.domain.ids import OrgId
from service.ingest.batch_items import EventOutcome
from service.organizations import store as organizations_store
from service.tasks import workers
from service.tasks.workers import WorkerChecks, WorkerUnavailable
from tests import citus_cluster
from tests.proxies import UnreliableProxy
from tests.run_events import result, run_event
from tests.stored import Store, open_store

pytestmark = pytest.mark.citus

POOL_SIZE: Final = 10
DETECTION_S: Final = 0.5  # also the timeout of new connections to a worker
CLEANUP_S: Final = 5.0  # of a canceled statement
COUNT_RUNS: Final = "SELECT count(*) FROM runs WHERE org_id = $1"
MOVE_NODE: Final = """
SELECT citus_update_node(nodeid, $3, $4) FROM pg_dist_node WHERE nodename = $1 AND nodeport = $2
"""


@pytest.fixture
async def store(database_url: str, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Store]:
    monkeypatch.setattr(workers, "_CHECK_EVERY_S", DETECTION_S)
    monkeypatch.setitem(CITUS.session, "citus.node_connection_timeout", f"{round(DETECTION_S * 1000)}ms")
    async with open_store(database_url) as opened:
        yield opened


@pytest.fixture
async def pool(store: Store, database_url: str) -> AsyncIterator[BoundedPool]:
    """The pool of an API process. It depends on `store`, which sets the timeout of its connections."""
    opened = await database.open_pool(database_url, "results_api", POOL_SIZE, CITUS)
    assert isinstance(opened, BoundedPool)
    yield opened
    opened.terminate()


@pytest.fixture
async def slugs(store: Store) -> dict[OrgId, str]:
    """The organizations of the first worker, and one of another worker, which is the last one."""
    pool = store.pool
    assert isinstance(pool, BoundedPool)
    first, found = await pool.find_worker(OrgId(1)), {OrgId(1): "acme"}
    other: dict[OrgId, str] = {}
    for number in range(50):
        async with pool.acquire() as connection:
            org_id = await organizations_store.create(connection, f"org-{number}", "Other")
        is_other = await pool.find_worker(org_id) != first
        (other if is_other else found)[org_id] = f"org-{number}"
        if other and len(found) > POOL_SIZE:
            break
    return dict([*found.items(), other.popitem()])


@pytest.fixture
async def proxy(store: Store, slugs: dict[OrgId, str], database_url: str) -> AsyncIterator[UnreliableProxy]:
    """A proxy between the coordinator and the first worker. It doesn't hang yet."""
    pool = store.pool
    assert isinstance(pool, BoundedPool)
    worker = await pool.find_worker(OrgId(1))
    url = next(
        url for url in citus_cluster.server_urls() if url.split("@")[1].startswith(f"{worker.host}:{worker.port}")
    )
    async with UnreliableProxy(url) as opened:
        coordinator = await asyncpg.connect(database_url)
        port = int(opened.url.rpartition(":")[2].split("/")[0])
        await coordinator.execute(MOVE_NODE, *worker, "127.0.0.1", port)
        for _ in range(5):  # the maintenance process of Citus synchronizes the metadata too, and one of both can fail
            with suppress(asyncpg.PostgresError):
                await coordinator.execute("SELECT start_metadata_sync_to_all_nodes()")
                break
            await asyncio.sleep(1)
        await coordinator.close()
        pool._workers.clear()
        yield opened


def hang(proxy: UnreliableProxy) -> None:
    proxy.stall_connections()
    proxy.stalls_new_connections = True


def events(slugs: dict[OrgId, str], run_id: str) -> list[dict[str, object]]:
    return [run_event(run_id, [result("pays")], organization=slug) for slug in slugs.values()]


def statuses(outcomes: list[EventOutcome]) -> list[str]:
    return [outcome.status for outcome in outcomes]


async def test_events_of_other_workers_are_stored_while_a_worker_hangs(
    store: Store, slugs: dict[OrgId, str], proxy: UnreliableProxy
) -> None:
    assert set(statuses(await store.ingest(*events(slugs, "run_1")))) == {"stored"}
    hang(proxy)
    expected = ["postponed"] * (len(slugs) - 1) + ["stored"]
    for run_id, limit_s in (("run_2", CLEANUP_S + 4 * DETECTION_S + 3), ("run_3", 2.0)):
        started = time.monotonic()
        assert statuses(await store.ingest(*events(slugs, run_id))) == expected
        assert time.monotonic() - started < limit_s


async def test_postponed_events_are_stored_when_the_worker_responds_again(
    store: Store, slugs: dict[OrgId, str], proxy: UnreliableProxy, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert set(statuses(await store.ingest(*events(slugs, "run_1")))) == {"stored"}
    hang(proxy)
    assert statuses(await store.ingest(*events(slugs, "run_2")))[0] == "postponed"
    proxy.close_stalled()
    proxy.resume()
    assert statuses(await store.ingest(*events(slugs, "run_2")))[0] == "postponed"  # still remembered
    checks = store.run_ingest._store._checks
    checks._unavailable = dict.fromkeys(checks._unavailable, 0.0)
    async with asyncio.timeout(10):
        while statuses(await store.ingest(*events(slugs, "run_2")))[0] == "postponed":
            checks._unavailable = dict.fromkeys(checks._unavailable, 0.0)
    run_ids = await store.pool.fetch("SELECT DISTINCT run_id FROM runs WHERE org_id = 1")
    assert {row["run_id"] for row in run_ids} == {"run_1", "run_2"}


async def test_a_worker_that_accepts_no_connection_is_unavailable_without_a_wait(
    store: Store, slugs: dict[OrgId, str], proxy: UnreliableProxy
) -> None:
    await store.ingest(*events(slugs, "run_1"))  # creates the partitions on all workers
    proxy.rejects_connections = True
    proxy.close_connections()
    started = time.monotonic()
    assert statuses(await store.ingest(*events(slugs, "run_2"))) == ["postponed"] * (len(slugs) - 1) + ["stored"]
    assert time.monotonic() - started < CLEANUP_S


async def test_events_that_need_a_partition_are_postponed_while_a_worker_accepts_no_connection(
    store: Store, slugs: dict[OrgId, str], proxy: UnreliableProxy
) -> None:
    proxy.rejects_connections = True
    proxy.close_connections()
    assert set(statuses(await store.ingest(*events(slugs, "run_1")))) == {"postponed"}
    proxy.resume()
    store.run_ingest._store._checks._unavailable.clear()
    assert set(statuses(await store.ingest(*events(slugs, "run_1")))) == {"stored"}


async def test_slow_work_continues_while_its_worker_responds(store: Store, pool: BoundedPool) -> None:
    async def work() -> str:
        await asyncio.sleep(3 * DETECTION_S)
        return "done"

    assert await WorkerChecks(pool).while_available(OrgId(1), work) == "done"


async def test_error_of_the_work_is_raised(pool: BoundedPool) -> None:
    async def fail() -> None:
        raise LookupError

    with pytest.raises(LookupError):
        await WorkerChecks(pool).while_available(OrgId(1), fail)


async def test_requests_for_a_worker_that_hangs_leave_connections_for_other_organizations(
    pool: BoundedPool, slugs: dict[OrgId, str], proxy: UnreliableProxy
) -> None:
    *hanging, other = slugs

    async def count_runs(org_id: OrgId) -> int:
        async with database.as_organization(pool, org_id) as connection:
            return int(await connection.fetchval(COUNT_RUNS, org_id))

    await asyncio.gather(*map(count_runs, slugs))
    hang(proxy)
    waiting = [asyncio.create_task(count_runs(org_id)) for org_id in hanging * 2]
    await asyncio.sleep(DETECTION_S)
    started = time.monotonic()
    for _ in range(5):
        assert await count_runs(other) == 0
    assert time.monotonic() - started < 2
    assert not all(task.done() for task in waiting)
    pool.terminate()
    await asyncio.wait(waiting)
    for task in waiting:
        task.exception()


async def test_work_for_a_worker_that_hangs_is_canceled(pool: BoundedPool, proxy: UnreliableProxy) -> None:
    checks, canceled = WorkerChecks(pool), asyncio.Event()

    async def work() -> None:
        try:
            await asyncio.sleep(60)
        finally:
            canceled.set()

    hang(proxy)
    with pytest.raises(WorkerUnavailable):
        await asyncio.wait_for(checks.while_available(OrgId(1), work), 5)
    assert canceled.is_set()
