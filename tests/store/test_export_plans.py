"""EXPLAIN: a filtered export reads what the filter asks for, by keys, and no table of results from end to end."""

from collections.abc import AsyncIterator
from typing import Any

import asyncpg
import orjson
import pytest

from service.contracts.exports import ExportRequest
from service.domain.ids import OrgId
from service.store import database, export_rows
from tests.store.large import fill, plan_nodes

ORG = OrgId(1)
FILTERS: list[dict[str, Any]] = [
    {"run_id": "run_77"},
    {"run_id": "run_77", "suite": "suite 1"},
    {"status": ["failed"], "project_id": "p1"},
    {"branch": "b1", "environment": "env1"},
    {"case_id": "tc_1", "project_id": "p1"},
    {"from": "2026-03-01", "to": "2026-03-02"},
]
FORMATS = ("csv", "json", "parquet")


@pytest.fixture
async def connection(database_url: str) -> AsyncIterator[Any]:
    owner = await asyncpg.create_pool(database_url, min_size=1, max_size=1)
    await fill(owner)
    await owner.close()
    pool = await database.open_pool(database_url, "results_api", 1)
    async with export_rows.snapshot(pool, ORG) as connection:
        yield connection
    await database.close_pool(pool)


async def facts_read_whole(connection: Any, form: str, wanted: dict[str, Any]) -> set[str]:
    """Months of results and details with rows in them that the plan of an export reads from end to end."""
    order = ExportRequest.model_validate({"format": form, "filter": wanted}).to_order()
    query = await export_rows.row_query(connection, ORG, order)
    nodes = plan_nodes(orjson.loads(await connection.fetchval(f"EXPLAIN (FORMAT JSON) {query.text}"))[0]["Plan"])
    return {
        node["Relation Name"]
        for node in nodes
        if node["Node Type"] == "Seq Scan" and node["Relation Name"].startswith("result")
    }


@pytest.mark.parametrize("form", FORMATS)
async def test_a_filtered_export_reads_no_results_from_end_to_end(connection: Any, form: str) -> None:
    for wanted in FILTERS:
        assert await facts_read_whole(connection, form, wanted) == set(), wanted


async def test_the_check_notices_a_missing_key(connection: Any) -> None:
    assert await facts_read_whole(connection, "csv", FILTERS[0]) == set()
    await connection.execute("SET LOCAL enable_indexscan = off; SET LOCAL enable_bitmapscan = off")
    assert await facts_read_whole(connection, "csv", FILTERS[0]) >= {"results_2026_03"}
