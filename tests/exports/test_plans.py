"""EXPLAIN checks: a filtered export uses the keys and never scans a results table sequentially."""

from typing import Any

import asyncpg
import orjson
import pytest

from service.database import database
from service.domain.ids import OrgId
from service.domain.statuses import RESULT_STATUSES
from service.exports import readers
from service.exports.model import KeyRange
from tests.database.filled import read_rows
from tests.database.large import plan_nodes
from tests.exporting import export_spec
from tests.stored import Store

ORG = OrgId(1)
FILTERS: list[dict[str, Any]] = [
    {"run_id": "run_77"},
    {"run_id": "run_77", "suite": "suite 1"},
    {"status": ["failed"], "project_id": "p1"},
    {"branch": "b1", "environment": "env1"},
    {"case_id": "tc_1", "project_id": "p1"},
    {"from": "2026-03-01", "to": "2026-03-02"},
    {"flaky": True},
    {"flaky": False, "project_id": "p1"},
    {"commit_sha": "c0ffee1"},
    {"run_id": "run_77", "sort": "suite"},
    {"run_id": "run_77", "sort": "-duration_ms"},
    {"run_id": "run_77", "variant": ["os:linux"], "q": "case 7"},
    {"label": ["team:web"], "min_duration_ms": 5},
    {"fingerprint": "fp1_" + "0" * 16},
    {"fingerprint": "fp1_" + "0" * 16, "branch": "b1"},
    {"owner": "owner 1", "project_id": "p1", "from": "2026-01-01", "to": "2026-03-01"},
]
FORMATS = ("csv", "json", "parquet")


async def sequentially_scanned_tables(connection: Any, form: str, filters: dict[str, Any]) -> set[str]:
    """Return the monthly tables of results and details that the plan of an export scans sequentially."""
    spec = export_spec({"format": form, "filter": filters})
    plan = await readers.plan_export(connection, ORG, spec, 20_000)
    query = plan.query(KeyRange(plan.ranges[-1].first_run, plan.ranges[0].last_run))
    nodes = plan_nodes(orjson.loads(await connection.fetchval(f"EXPLAIN (FORMAT JSON) {query}"))[0]["Plan"])
    return {
        node["Relation Name"]
        for node in nodes
        if node["Node Type"] == "Seq Scan" and node["Relation Name"].startswith("result")
    }


@pytest.mark.one_server
@pytest.mark.parametrize("form", FORMATS)
async def test_filtered_export_uses_no_sequential_scan_of_results(connection: Any, form: str) -> None:
    for filters in FILTERS:
        assert await sequentially_scanned_tables(connection, form, filters) == set(), filters


async def test_expected_rows_are_the_results_of_the_list(filled: Store, api_pool: asyncpg.Pool) -> None:
    rows = await read_rows(filled.pool)
    for statuses in (None, ["passed"], ["failed"], ["passed", "error"]):
        for flaky in (None, True, False):
            spec = export_spec(
                {"format": "csv", "filter": {"status": statuses or list(RESULT_STATUSES), "flaky": flaky}}
            )
            async with database.as_organization(api_pool, ORG) as connection:
                plan = await readers.plan_export(connection, ORG, spec, 7)
            assert plan.expected_rows == sum(row.matches(spec.filter) for row in rows), (statuses, flaky)


async def test_expected_rows_of_an_owner_are_unknown(filled: Store, api_pool: asyncpg.Pool) -> None:
    spec = export_spec({"format": "csv", "filter": {"project_id": "shop", "owner": "web"}})
    async with database.as_organization(api_pool, ORG) as connection:
        assert (await readers.plan_export(connection, ORG, spec, 7)).expected_rows is None


async def test_ranges_of_changed_runs_read_no_events(filled: Store, api_pool: asyncpg.Pool) -> None:
    spec = export_spec({"format": "csv"}, 0)
    async with database.as_organization(api_pool, ORG) as connection:
        plan = await readers.plan_export(connection, ORG, spec, 7)
    queries = [plan.query(key_range) for key_range in plan.ranges]
    assert len(queries) > 1
    assert not any("events" in query for query in queries)


@pytest.mark.one_server
async def test_check_detects_a_sequential_scan(connection: Any) -> None:
    assert await sequentially_scanned_tables(connection, "csv", FILTERS[0]) == set()
    await connection.execute("SET enable_indexscan = off; SET enable_bitmapscan = off")
    assert await sequentially_scanned_tables(connection, "csv", FILTERS[0]) >= {"results_2026_03"}
