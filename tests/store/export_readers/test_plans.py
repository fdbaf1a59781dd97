"""EXPLAIN: a filtered export reads what the filter asks for, by keys, and no table of results from end to end."""

from typing import Any

import orjson
import pytest

from service.domain.ids import OrgId
from service.domain.key_ranges import KeyRange
from service.store.export_readers import plans as export_plans
from tests.exporting import export_spec
from tests.store.large import plan_nodes

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


async def facts_read_whole(connection: Any, form: str, wanted: dict[str, Any]) -> set[str]:
    """Months of results and details with rows in them that the plan of an export reads from end to end."""
    spec = export_spec({"format": form, "filter": wanted})
    plan = await export_plans.plan_export(connection, ORG, spec, 20_000)
    query = plan.query(KeyRange(plan.ranges[-1].first_run, plan.ranges[0].last_run))
    nodes = plan_nodes(orjson.loads(await connection.fetchval(f"EXPLAIN (FORMAT JSON) {query}"))[0]["Plan"])
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
    await connection.execute("SET enable_indexscan = off; SET enable_bitmapscan = off")
    assert await facts_read_whole(connection, "csv", FILTERS[0]) >= {"results_2026_03"}
