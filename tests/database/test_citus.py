"""A real Citus cluster: distribution, the check of the setting, isolation of organizations, and two-phase commits."""

import asyncio
from collections.abc import AsyncIterator
from typing import cast

import asyncpg
import pytest

from service.database import database, distribution
from service.database.engines import CITUS, DISTRIBUTED_TABLES, POSTGRESQL, CitusConnection, EngineMismatch
from service.domain.errors import Conflict
from service.domain.ids import OrgId
from service.organizations import store as organizations_store
from service.processes import NoDatabase, wait_for_schema
from service.runs import store as runs_store
from service.settings import Settings
from service.tasks import store as tasks_store
from tests.run_events import result, run_event
from tests.stored import Store, open_store

pytestmark = pytest.mark.citus

SHARDS = 2  # of the template
SERVER_AND_OTHER_WORKER = """
SELECT node.nodename, node.nodeport, other.nodename, other.nodeport
FROM pg_dist_placement JOIN pg_dist_node AS node USING (groupid), pg_dist_node AS other
WHERE shardid = $1 AND other.groupid NOT IN (0, node.groupid) LIMIT 1
"""


@pytest.fixture
async def store(database_url: str) -> AsyncIterator[Store]:
    async with open_store(database_url) as opened:
        yield opened


@pytest.fixture
async def coordinator(database_url: str) -> AsyncIterator[asyncpg.Connection]:
    connection = await asyncpg.connect(database_url)
    yield connection
    await connection.close()


async def test_all_tables_are_distributed_and_a_second_call_changes_nothing(
    database_url: str, coordinator: asyncpg.Connection
) -> None:
    rows = await coordinator.fetch("SELECT table_name::text, shard_count, colocation_id FROM citus_tables")
    distributed = {row["table_name"]: row["shard_count"] for row in rows if row["shard_count"] == SHARDS}
    assert distributed == dict.fromkeys(DISTRIBUTED_TABLES, SHARDS)
    assert await distribution.distribute(database_url, None) == ([], SHARDS)
    assert await distribution.distribute(database_url, SHARDS + 1) == ([], SHARDS)


async def test_distribution_requires_stopped_consumers(database_url: str, store: Store) -> None:
    await tasks_store.record_heartbeat(store.pool, "host:1:runs", "runs")
    with pytest.raises(Conflict, match=r"consumers are running \(runs\)"):
        await distribution.distribute(database_url, SHARDS)


async def test_rows_move_to_the_workers(database_url: str, store: Store, coordinator: asyncpg.Connection) -> None:
    await store.ingest(run_event("run_1", [result("pays")]))
    before = await store.snapshot()
    for table in DISTRIBUTED_TABLES:
        await coordinator.execute("SELECT undistribute_table($1::text::regclass)", table)
    with pytest.raises(NoDatabase, match="Run `zof-results schema distribute`"):
        await wait_for_schema(Settings(database_url=database_url, schema_wait_s=0), "results_api", asyncio.Event())
    with pytest.raises(Conflict, match="--shards: required"):
        await distribution.distribute(database_url, None)
    assert await distribution.distribute(database_url, SHARDS) == (list(DISTRIBUTED_TABLES), SHARDS)
    await store.pool.expire_connections()
    assert await store.snapshot() == before
    for table in DISTRIBUTED_TABLES:
        await coordinator.execute("SET citus.override_table_visibility = off")
        assert await coordinator.fetchval(f"SELECT count(*) FROM ONLY {table}") in (0, 1)


async def test_organization_gets_a_shard_of_its_own_and_moves(
    database_url: str, store: Store, coordinator: asyncpg.Connection
) -> None:
    """By default, Citus moves only tables with a key or a replica identity."""
    await store.ingest(run_event("run_1", [result("pays", status="failed")]))
    before = await store.snapshot()
    shard = await coordinator.fetchval("SELECT isolate_tenant_to_new_shard('runs', 1, 'CASCADE')")
    servers = await coordinator.fetchrow(SERVER_AND_OTHER_WORKER, shard)
    assert servers is not None
    await coordinator.execute("SELECT citus_move_shard_placement($1, $2, $3, $4, $5)", shard, *servers, timeout=60)
    await store.pool.expire_connections()
    assert await store.snapshot() == before
    await coordinator.execute("SELECT undistribute_table('failure_group_minutes')")
    assert (await distribution.distribute(database_url, SHARDS)).tables == ["failure_group_minutes"]


async def test_read_of_an_organization_causes_no_warning(database_url: str, store: Store) -> None:
    """Citus forwards each command with its complete text, and a worker warns about a BEGIN inside of a transaction."""
    await store.ingest(run_event("run_1", [result("pays")]))
    warnings: list[str] = []
    pool = await database.open_pool(database_url, "results_api", 1, CITUS)
    try:
        async with pool.acquire() as connection:
            connection.add_log_listener(record := lambda _, message: warnings.append(message.message))
            await cast("CitusConnection", connection).act_as(OrgId(1))
            assert await runs_store.find_one(connection, OrgId(1), "run_1", None) is not None
            connection.remove_log_listener(record)
    finally:
        await database.close_pool(pool)
    assert warnings == []


async def test_postgresql_setting_does_not_start_with_distributed_tables(database_url: str) -> None:
    settings = Settings(database_url=database_url, database_engine="postgresql")
    with pytest.raises(NoDatabase, match="RESULTS_DATABASE_ENGINE: is postgresql"):
        await wait_for_schema(settings, "results_api", asyncio.Event())
    pool = await database.open_pool(database_url, "results_api", 1, POSTGRESQL)
    with pytest.raises(EngineMismatch):  # also without the check at the start, for example after an outage
        await pool.fetchval("SELECT 1")
    await database.close_pool(pool)


async def test_api_reads_only_the_rows_of_its_organization(database_url: str, store: Store) -> None:
    async with store.pool.acquire() as connection:
        await organizations_store.create(connection, "other", "Other")
    await store.ingest(run_event("run_1", [result("pays")]))
    pool = await database.open_pool(database_url, "results_api", 1, CITUS)
    try:
        for org_id, is_visible in ((1, True), (2, False), (1, True)):
            async with database.as_organization(pool, OrgId(org_id)) as connection:
                # The statement names the first organization, so only row-level security hides its run.
                assert (await runs_store.find_one(connection, OrgId(1), "run_1", None) is not None) is is_visible
                async with connection.transaction():
                    assert (await runs_store.find_one(connection, OrgId(1), "run_1", None) is not None) is is_visible
        async with pool.acquire() as connection:
            assert await runs_store.find_one(connection, OrgId(1), "run_1", None) is None
    finally:
        await database.close_pool(pool)


async def test_ingest_commits_in_two_phases(store: Store, coordinator: asyncpg.Connection) -> None:
    """Citus records each prepared transaction of a worker until it has been recovered."""
    await store.ingest(run_event("run_1", [result("pays")]))  # creates the month and the case
    await coordinator.execute("DELETE FROM pg_dist_transaction")
    await store.ingest(run_event("run_2", [result("pays")]))
    assert await coordinator.fetchval("SELECT count(*) FROM pg_dist_transaction") == 1
