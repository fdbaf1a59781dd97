"""DELETE of a run: deletes everything that belongs to the run, and nothing else."""

from pathlib import Path

import pytest

from tests.api.served import Api, serve
from tests.run_events import result, run_event

TABLES = ("runs", "results", "result_details", "artifacts")


@pytest.fixture
async def stored(api: Api) -> Api:
    failed = result("pays", "failed", failure={"message": "no"}, artifacts=[{"name": "a.png", "uri": "s3://x"}])
    await api.store.ingest(
        run_event("run_1", [result("logs in"), failed], id="evt_1"), run_event("run_2", [result("logs in"), failed])
    )
    return api


def files_under(folder: Path) -> list[Path]:
    return [path for path in folder.rglob("*") if path.is_file()]


async def counts(api: Api) -> list[int]:
    return [await api.store.pool.fetchval(f"SELECT count(*) FROM {table}") for table in TABLES]


async def test_deletion_includes_everything_that_belongs_to_the_run(stored: Api) -> None:
    assert await counts(stored) == [2, 4, 2, 2]
    assert (await stored.send("DELETE", "/v1/runs/run_1")).status == 204
    assert await counts(stored) == [1, 2, 1, 1]
    await stored.error("/v1/runs/run_1", 404)
    assert {item["run_id"] for item in (await stored.get("/v1/results"))["data"]} == {"run_2"}
    assert (await stored.send("DELETE", "/v1/runs/run_1")).status == 404


async def test_redelivered_event_does_not_restore_a_deleted_run(stored: Api) -> None:
    await stored.send("DELETE", "/v1/runs/run_1")
    failed = result("pays", "failed", failure={"message": "no"}, artifacts=[{"name": "a.png", "uri": "s3://x"}])
    await stored.store.ingest(run_event("run_1", [result("logs in"), failed], id="evt_1"))
    await stored.error("/v1/runs/run_1", 404)


async def test_only_an_admin_of_the_organization_and_project_can_delete_a_run(stored: Api) -> None:
    engineer = (await stored.make_key("engineer")).key
    assert (await stored.send("DELETE", "/v1/runs/run_1", key=engineer)).status == 403
    _, other_key = await stored.make_organization("other")
    bound = (await stored.make_key("admin", project_id="blog")).key
    for key in (other_key, bound):
        assert (await stored.send("DELETE", "/v1/runs/run_1", key=key)).status == 404
    assert await counts(stored) == [2, 4, 2, 2]


async def test_deletion_includes_the_files_in_storage(database_url: str, tmp_path: Path) -> None:
    async with serve(database_url, artifacts_url=tmp_path.as_uri()) as api:
        await api.store.ingest(run_event("run_1"))
        id_ = (await api.get("/v1/results"))["data"][0]["id"]
        headers = {"Authorization": f"Bearer {api.key}"}
        put = await api.http.put(f"/v1/results/{id_}/artifacts/a.txt", data=b"some bytes", headers=headers)
        assert put.status in (200, 201), await put.text()
        assert files_under(tmp_path)
        assert (await api.send("DELETE", "/v1/runs/run_1")).status == 204
        assert not files_under(tmp_path)
