"""Storage of the properties and the line of a result."""

from typing import Any

from service.results.model import MAX_PROPERTIES, MAX_PROPERTIES_BYTES
from tests.run_events import result, run_event
from tests.served import Api


async def stored(api: Api, **fields: Any) -> Any:
    """Return the stored result by ID."""
    await api.store.ingest(run_event("run_1", [result("pays", **fields)]))
    page = await api.get("/v1/results", {"run_id": "run_1"})
    return await api.get(f"/v1/results/{page['data'][0]['id']}")


async def test_properties_of_a_passed_result_are_stored(api: Api) -> None:
    found = await stored(api, properties={"issue": "SHOP-7", "owner": "web"}, line=12)
    assert (found["properties"], found["line"]) == ({"issue": "SHOP-7", "owner": "web"}, 12)
    assert (found["status"], found["failure"], len(found["attempt_details"])) == ("passed", None, 1)


async def test_passed_result_without_properties_has_no_details(api: Api) -> None:
    found = await stored(api, line=12, properties={})
    assert (found["properties"], found["line"]) == ({}, None)
    assert await api.store.pool.fetchval("SELECT count(*) FROM result_details") == 0


async def test_line_and_properties_belong_to_the_last_attempt(api: Api) -> None:
    attempts = [{"status": "failed", "failure": {"message": "no"}}, {"status": "passed"}]
    found = await stored(api, attempts=attempts, line=3, properties={"issue": "SHOP-7"})
    assert (found["properties"], found["line"], found["flaky"]) == ({"issue": "SHOP-7"}, 3, True)
    rows = await api.store.pool.fetch("SELECT attempt, line FROM result_details ORDER BY attempt")
    assert [tuple(row) for row in rows] == [(1, None), (2, 3)]


async def test_properties_above_the_limits_are_not_stored_and_noted(api: Api) -> None:
    many = {f"p{number}": "x" for number in range(MAX_PROPERTIES + 2)} | {"long": "y" * MAX_PROPERTIES_BYTES}
    found = await stored(api, properties=many)
    assert len(found["properties"]) == MAX_PROPERTIES
    [receipt] = await api.store.receipts()
    [problem] = receipt["problems"]
    assert (problem["index"], problem["name"]) == (0, "properties")
    assert problem["reason"].startswith("properties: 3 were not stored; a result has at most 50 properties")


async def test_properties_survive_a_second_shard(api: Api) -> None:
    shards: dict[str, Any] = {"expected_shards": 2}
    failed = result("pays", "failed", failure={"message": "no"}, properties={"issue": "SHOP-7"}, line=4)
    await api.store.ingest(run_event("run_1", [failed], shard=1, **shards))
    await api.store.ingest(run_event("run_1", [result("pays")], shard=2, **shards))
    page = await api.get("/v1/results", {"run_id": "run_1"})
    found = await api.get(f"/v1/results/{page['data'][0]['id']}")
    assert (found["status"], found["properties"], found["line"]) == ("failed", {"issue": "SHOP-7"}, 4)
