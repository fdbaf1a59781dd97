"""POST /v1/runs/{run_id}/complete: completes an open run once, and only if nothing is missing."""

from typing import Any

from tests.run_events import result, run_event
from tests.served import Api

PATH = "/v1/runs/run_1/complete"


async def event_types(api: Api) -> list[str]:
    rows = await api.store.pool.fetch("SELECT type FROM events ORDER BY created_at, event_id")
    return [row["type"] for row in rows]


async def complete(api: Api, key: str | None = None) -> tuple[int, Any]:
    response = await api.send("POST", PATH, key=key)
    return response.status, await response.json()


async def test_open_run_is_completed_and_returned(api: Api) -> None:
    failed = result("pays", "failed", failure={"message": "no"})
    await api.store.ingest(run_event("run_1", [result("logs in"), failed], final=False))
    status, run = await complete(api)
    assert (status, run["complete"], run["revision"], run["status"]) == (200, True, 2, "failed")
    assert await event_types(api) == ["run.updated", "run.completed", "run.failed"]
    assert await api.get("/v1/runs/run_1") == run


async def test_complete_run_stays_unchanged(api: Api) -> None:
    await api.store.ingest(run_event("run_1"))
    assert (await complete(api))[1]["revision"] == 1
    assert await event_types(api) == ["run.completed"]


async def test_later_event_keeps_the_run_complete(api: Api) -> None:
    await api.store.ingest(run_event("run_1", [result("a")], final=False))
    await complete(api)
    await api.store.ingest(run_event("run_1", [result("b")], final=False))
    run = await api.get("/v1/runs/run_1")
    assert (run["complete"], run["counts"]["passed"]) == (True, 2)


async def test_missing_shards_and_results_are_a_conflict(api: Api) -> None:
    await api.store.ingest(run_event("run_1", expected_shards=3, shard=1))
    status, body = await complete(api)
    assert (status, body["error"]["code"]) == (409, "conflict")
    assert (
        body["error"]["message"] == "run 'run_1' can't be completed: 1 of 3 shards arrived. Shards 2 and 3 are missing"
    )
    await api.store.ingest(run_event("run_2", expected_results=5))
    body = await (await api.send("POST", "/v1/runs/run_2/complete")).json()
    assert body["error"]["message"] == "run 'run_2' can't be completed: 1 of 5 results arrived"


async def test_only_a_key_with_the_permission_and_the_project_completes_a_run(api: Api) -> None:
    await api.store.ingest(run_event("run_1", final=False))
    viewer = (await api.make_key("viewer")).key
    bound = (await api.make_key("uploader", project_id="blog")).key
    _, other = await api.make_organization("other")
    assert [(await complete(api, key))[0] for key in (viewer, bound, other)] == [403, 404, 404]
    assert (await api.get("/v1/runs/run_1"))["complete"] is False
    assert (await complete(api, (await api.make_key("uploader", project_id="shop")).key))[0] == 200
