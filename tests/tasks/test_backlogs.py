"""Backlog metrics: the query counts waiting rows, and its cost is limited however many rows exist."""

from typing import Any

import orjson
import pytest

from service.database.statements import statements
from service.tasks import store as tasks_store
from tests.database.large import plan_nodes
from tests.stored import Store

pytestmark = pytest.mark.slow

LIMIT = 10_000
# Ten times as many rows are finished as are waiting, and more are waiting than the limit.
FILL = """
INSERT INTO organizations (slug, name) SELECT 'org-' || n, 'Org' FROM generate_series(1, 20) n;
INSERT INTO webhooks (org_id, webhook_id, url, secret)
SELECT org, 'whk_' || n, '', '' FROM generate_series(1, 20) org, generate_series(1, 5) n;
INSERT INTO deliveries (org_id, webhook_id, delivery_id, event_id, status, due_at)
SELECT 1 + n % 20, 'whk_' || 1 + n % 5, 'dlv_' || n, 'evt_' || n,
       CASE WHEN n % 10 = 0 THEN 'pending' ELSE 'delivered' END, CASE WHEN n % 10 = 0 THEN now() - interval '1 min' END
FROM generate_series(1, 150000) n;
INSERT INTO exports (org_id, export_id, request, status)
SELECT 1 + n % 20, 'exp_' || n, '{}', CASE WHEN n % 10 = 0 THEN 'queued' ELSE 'succeeded' END
FROM generate_series(1, 150000) n;
INSERT INTO receipts (org_id, receipt_id, source, event_id, body_sha256, status)
SELECT 1 + n % 20, 'rcp_' || n, '', n, '', CASE WHEN n % 10 = 0 THEN 'queued' ELSE 'stored' END
FROM generate_series(1, 150000) n;
INSERT INTO outbox (queue, payload) SELECT 'results.exports', '{}' FROM generate_series(1, 30000);
INSERT INTO dead_letters (queue, payload, reason, message) SELECT 'results.exports', '{}', '', ''
FROM generate_series(1, 30000);
"""
ENDPOINTS = """
INSERT INTO webhooks (org_id, webhook_id, url, secret, enabled, paused_until)
VALUES (1, 'whk_busy', '', '', true, null), (1, 'whk_off', '', '', false, null),
       (1, 'whk_paused', '', '', true, now() + interval '1 min'), (1, 'whk_quiet', '', '', true, null),
       (1, 'whk_slow', '', '', true, now() - interval '1 min');
INSERT INTO deliveries (org_id, webhook_id, delivery_id, event_id, due_at)
SELECT 1, webhook_id, row_number() OVER (), '', now() + due FROM (VALUES
    ('whk_busy', interval '-10 s'), ('whk_busy', '-20 s'), ('whk_busy', '1 min'), ('whk_busy', null),
    ('whk_off', '-1 h'), ('whk_paused', '-1 h'), ('whk_quiet', '1 min'), ('whk_slow', '-30 s')
) AS waiting (webhook_id, due), generate_series(1, 2);
"""


@pytest.fixture
async def large(store: Store) -> Store:
    await store.pool.execute(FILL)
    return store


async def test_deliveries_to_available_endpoints_are_due(store: Store) -> None:
    await store.pool.execute(ENDPOINTS)
    async with store.pool.acquire() as connection:
        found = await tasks_store.find_backlogs(connection, LIMIT)
    assert found["deliveries"] == 6
    assert 30 <= found["oldest_delivery_s"] < 40


async def test_the_counts_stop_at_the_limit(large: Store) -> None:
    async with large.pool.acquire() as connection:
        found = await tasks_store.find_backlogs(connection, LIMIT)
    names = ("messages", "deliveries", "exports_queued", "reports_queued", "dead_letters")
    assert {found[name] for name in names} == {LIMIT}


@pytest.mark.one_server
async def test_no_scan_reads_more_rows_than_the_limit(large: Store) -> None:
    """With and without statistics for the planner."""
    async with large.pool.acquire() as connection:
        for mode in ("force_generic_plan", "force_custom_plan"):
            assert_bounded(await explained(connection, mode))
            await connection.execute("SET ROLE none; ANALYZE; RESET ROLE")
            assert_bounded(await explained(connection, mode))


def assert_bounded(nodes: list[Any]) -> None:
    tables = [node for node in nodes if "Relation Name" in node]
    assert len(tables) > 7
    assert {node["Node Type"] for node in tables} <= {"Index Scan", "Index Only Scan"}
    assert not any(node["Node Type"] in ("Sort", "Incremental Sort") for node in nodes)
    assert max(node["Actual Rows"] * node["Actual Loops"] for node in tables) <= LIMIT
    assert not any(node.get("Rows Removed by Filter") for node in tables)


async def explained(connection: Any, mode: str) -> list[Any]:
    """Return every node of the executed plan."""
    sql = statements("tasks")
    async with connection.transaction():
        await connection.execute(f"SET LOCAL plan_cache_mode = {mode}")
        await connection.execute(sql["prefer_index_scans"])
        await connection.execute(f"PREPARE backlogs (int) AS {sql['find_backlogs']}")
        plan = orjson.loads(await connection.fetchval(f"EXPLAIN (ANALYZE, FORMAT JSON) EXECUTE backlogs ({LIMIT})"))
        await connection.execute("DEALLOCATE backlogs")
    return plan_nodes(plan[0]["Plan"])
