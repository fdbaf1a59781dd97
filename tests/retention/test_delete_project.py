"""Deletion of a project: in steps that survive an interruption, without runs whose cases are missing."""

from pathlib import Path
from typing import Any

import pytest

from service.database.database import as_organization
from service.ingest import store_batch
from service.ingest.ingest_runs import RunIngest
from service.ingest.new_cases import insert_unseen_cases
from service.ingest.store_batch import BatchStore
from service.retention import deletion
from service.retention import store as retention_store
from service.retention.deletion import delete_requested_projects
from service.settings import Settings
from tests.report_api import PASSING, new_ingester, running_ingester, serving_reports
from tests.run_events import result, run_event
from tests.served import Api
from tests.stored import RETENTION, Store

PATH = "/v1/projects/shop"
CONFIRMED = {"confirm": "shop"}
TABLES = (
    "runs",
    "cases",
    "case_owners",
    "results",
    "result_details",
    "run_parts",
    "artifacts",
    "quarantines",
    "projects",
    "decisions",
    "excuses",
    "splits",
    "split_assignments",
)
FAILED = result("pays", "failed", artifacts=[{"name": "log.txt", "uri": "https://files.example/log.txt"}])


async def fill(api: Api) -> None:
    """Store runs, a quarantine, a decision, an excuse, and a split of the project, and a run of another one."""
    await api.store.ingest(
        *(run_event(f"run_{number}", [FAILED, result("ships", owners=["@a"])]) for number in range(5))
    )
    await api.store.ingest(run_event("other", [result("pays", owners=["@a"])], project_id="blog"))
    for project_id in ("shop", "blog"):
        body = {"project_id": project_id, "name": "pays", "reason": "unstable"}
        assert (await api.send("POST", "/v1/quarantines", json=body)).status == 201
        split = {"project_id": project_id, "total": 2, "items": ["a", "b"]}
        assert (await api.send("PUT", "/v1/splits/unit", json=split)).status == 201
        async with as_organization(api.resources.pool, api.org_id) as connection:
            await connection.execute(
                "INSERT INTO split_assignments (org_id, receipt_id, key, project_id, pipeline, run_id, document)"
                " VALUES (1, 'rcp_' || $1, 'unit', $1, '', '', '')",
                project_id,
            )
    policy = {"policy": {"max_failures": 0}, "record": True}
    assert (await api.send("POST", "/v1/runs/run_1/decisions", json=policy)).status == 201
    receipts = [(await api.get("/v1/receipts", {"run_id": "run_1"}))["data"][0]["id"]]
    assert (await api.send("POST", "/v1/runs/run_1/excuses", json={"receipts": receipts})).status == 201


async def counts(api: Api) -> dict[str, int]:
    """Return the number of rows of each table that has rows."""
    found = {table: await api.store.pool.fetchval(f"SELECT count(*) FROM {table}") for table in TABLES}
    return {table: count for table, count in found.items() if count}


async def names(api: Api, run_id: str) -> list[str]:
    return sorted(item["name"] for item in (await api.get("/v1/results", {"run_id": run_id}))["data"])


async def delete(api: Api, key: str | None = None, params: Any = CONFIRMED) -> tuple[int, Any]:
    response = await api.send("DELETE", PATH, params, key)
    return response.status, await response.json()


async def delete_completely(api: Api) -> None:
    assert (await delete(api))[0] == 202
    await delete_requested_projects(api.store.pool)
    await api.error(PATH, 404)


async def test_project_is_deleted_with_its_runs_cases_and_quarantines(api: Api) -> None:
    await fill(api)
    before = await counts(api)
    response = await api.send("DELETE", PATH, CONFIRMED)
    project = await response.json()
    assert (response.status, response.headers["Location"]) == (202, PATH)
    assert project["deletion_requested_at"] is not None
    assert await counts(api) == before
    assert await api.get(PATH) == project
    assert await delete(api) == (202, project)
    await delete_requested_projects(api.store.pool)
    await api.error(PATH, 404)
    assert (await delete(api))[0] == 404
    kept = {"result_details", "artifacts"}  # of failures, which the other project has none of
    tables = set(TABLES) - kept
    left = dict.fromkeys(tables, 1)
    assert {table: count for table, count in (await counts(api)).items() if table in left} == left
    assert (await counts(api)).keys() - left.keys() == set()
    assert len((await api.get("/v1/decisions"))["data"]) == 1
    actions = await api.store.pool.fetch("SELECT action FROM audit_trail WHERE action LIKE 'DELETE%'")
    assert [row["action"] for row in actions] == [f"DELETE {PATH}"] * 2
    changed = await api.store.pool.fetch("SELECT run_id FROM events WHERE type = 'run.deleted' ORDER BY run_id")
    assert [row["run_id"] for row in changed] == [f"run_{number}" for number in range(5)]


async def test_only_an_admin_of_the_project_deletes_it_after_a_confirmation(api: Api) -> None:
    await fill(api)
    for params in ({}, {"confirm": "blog"}, {"confirm": "Shop"}):
        status, body = await delete(api, params=params)
        assert (status, body["error"]["param"]) == (400, "confirm")
    _, other = await api.make_organization("other")
    keys = [(await api.make_key("engineer")).key, other, (await api.make_key("admin", project_id="blog")).key]
    assert [(await delete(api, key))[0] for key in keys] == [403, 404, 404]
    assert (await api.get(PATH))["deletion_requested_at"] is None
    assert (await delete(api, (await api.make_key("admin", project_id="shop")).key))[0] == 202


@pytest.mark.parametrize("step", [1, 3, 5])
async def test_deletion_continues_after_an_interruption(api: Api, monkeypatch: pytest.MonkeyPatch, step: int) -> None:
    await fill(api)
    delete_run, calls = retention_store.delete_run, 0

    async def interrupted(*arguments: Any) -> retention_store.DeletedRun | None:
        nonlocal calls
        calls += 1
        found = await delete_run(*arguments)
        if calls == step:
            raise ConnectionAbortedError
        return found

    assert (await delete(api))[0] == 202
    with monkeypatch.context() as patched:
        patched.setattr(retention_store, "delete_run", interrupted)
        with pytest.raises(ConnectionAbortedError):
            await delete_requested_projects(api.store.pool)
    assert (await counts(api))["runs"] == 1 + 5 - (step - 1)
    await delete_requested_projects(api.store.pool)
    await api.error(PATH, 404)
    assert (await counts(api))["runs"] == (await counts(api))["cases"] == 1


async def test_events_during_a_deletion_wait_and_then_create_the_project(api: Api) -> None:
    await fill(api)
    assert (await delete(api))[0] == 202
    waiting = run_event("new", [result("pays"), result("added")])
    outcomes = await api.store.ingest(waiting, run_event("blog_2", [result("pays")], project_id="blog"))
    assert [outcome.status for outcome in outcomes] == ["postponed", "stored"]
    assert "is being deleted" in (outcomes[0].message or "")
    await delete_requested_projects(api.store.pool)
    api.store.run_ingest._store._parser.locked_runs._until_s.clear()  # the run is remembered as locked for some seconds
    [outcome] = await api.store.ingest(waiting)
    assert outcome.status == "stored"
    assert await names(api, "new") == ["added", "pays"]
    assert (await api.get(PATH))["deletion_requested_at"] is None


async def test_report_during_a_deletion_waits_and_then_creates_the_project(database_url: str, tmp_path: Path) -> None:
    async with serving_reports(database_url, tmp_path) as reports:
        api, pool = reports.api, reports.api.store.pool
        ingester = new_ingester(Settings(artifacts_url=(tmp_path / "files").as_uri()), pool)
        async with running_ingester(reports, ingester):
            await reports.ingest(PASSING, "run_1")
        assert (await delete(api))[0] == 202
        await reports.send(PASSING, "run_2")
        leased = await ingester.lease()
        assert leased is not None
        assert (await ingester.ingest(leased)).status == "queued"
        assert await pool.fetchval("SELECT due_at > now() + interval '10 s' FROM receipts WHERE status = 'queued'")
        await pool.execute("UPDATE receipts SET due_at = now() WHERE status = 'queued'")
        await delete_requested_projects(pool)
        leased = await ingester.lease()
        assert leased is not None
        assert (await ingester.ingest(leased)).status == "stored"
        assert len(await names(api, "run_2")) == 2


@pytest.mark.parametrize("is_stored_again", [False, True])
async def test_batch_in_progress_during_a_deletion_stores_its_cases_again(
    api: Api, monkeypatch: pytest.MonkeyPatch, is_stored_again: bool
) -> None:
    """The batch knows the cases, which are deleted before it stores its results, and another batch can be faster."""

    async def delete_once(*arguments: Any) -> None:
        monkeypatch.setattr(store_batch, "insert_unseen_cases", insert_unseen_cases)
        await insert_unseen_cases(*arguments)
        await delete_completely(api)
        if is_stored_again:
            other = Store(api.store.pool, RunIngest(BatchStore(api.store.pool, RETENTION)))
            await other.ingest(run_event("faster", [result("ships")]))

    await api.store.ingest(run_event("run_1", [result("pays")]))
    monkeypatch.setattr(store_batch, "insert_unseen_cases", delete_once)
    [outcome] = await api.store.ingest(run_event("run_2", [result("pays"), result("new")]))
    assert outcome.status == "stored"
    assert await names(api, "run_2") == ["new", "pays"]
    cases = await api.get("/v1/cases", {"project_id": "shop"})
    assert {case["name"] for case in cases["data"]} == {"new", "pays"} | ({"ships"} if is_stored_again else set())


async def test_a_project_whose_runs_are_locked_is_deleted_later(api: Api, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(deletion, "_LOCK_WAIT_S", 0.05)
    await fill(api)
    assert (await delete(api))[0] == 202
    async with api.store.pool.acquire() as connection, connection.transaction():
        await connection.execute("SELECT FROM runs WHERE org_id = 1 AND run_id = 'run_0' FOR UPDATE")
        await delete_requested_projects(api.store.pool)
        assert (await counts(api))["cases"] == 3
    await delete_requested_projects(api.store.pool)
    await api.error(PATH, 404)
