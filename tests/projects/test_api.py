"""Projects over HTTP: they exist as soon as a run is stored, and have a default branch."""

from pathlib import Path
from typing import Any

import asyncpg
import pytest

from service.database.migrations import all_migrations
from service.settings import Settings
from tests.report_api import PASSING, new_ingester, running_ingester, serving_reports
from tests.run_events import run_event
from tests.served import Api


async def ids(api: Api, key: str | None = None) -> list[str]:
    return [project["project_id"] for project in (await api.get("/v1/projects", key=key))["data"]]


async def patch(api: Api, path: str, body: Any, key: str | None = None, **headers: Any) -> tuple[int, Any]:
    response = await api.send("PATCH", path, json=body, key=key, **headers)
    return response.status, await response.json()


async def test_project_exists_as_soon_as_a_run_is_stored(api: Api) -> None:
    assert await ids(api) == []
    await api.error("/v1/projects/shop", 404)
    await api.store.ingest(
        run_event("a", completed_at="2026-05-20T12:00:00Z"), run_event("b", completed_at="2026-05-21T12:00:00Z")
    )
    project = await api.get("/v1/projects/shop")
    assert (await api.get("/v1/projects"))["data"] == [project]
    assert project.pop("created_at") > "2026"
    assert project == {
        "project_id": "shop", "default_branch": "main", "last_run_at": "2026-05-21T12:00:00.000Z",
        "code_url_pattern": None, "deletion_requested_at": None, "untrusted_uploads": False, "auto_quarantine": None,
        "auto_quarantine_status": None,
    }  # fmt: skip


async def test_rejected_run_creates_no_project(api: Api) -> None:
    await api.store.ingest(run_event("a", project_id="shop"))
    await api.store.ingest(run_event("a", project_id="blog"))
    assert await ids(api) == ["shop"]


async def test_project_of_a_report_exists(database_url: str, tmp_path: Path) -> None:
    async with serving_reports(database_url, tmp_path) as reports:
        settings = Settings(artifacts_url=(tmp_path / "files").as_uri())
        async with running_ingester(reports, new_ingester(settings, reports.api.store.pool)):
            await reports.ingest(PASSING, "run_1")
        [run] = (await reports.api.get("/v1/runs"))["data"]
        assert await ids(reports.api) == [run["project_id"]]


async def test_deleted_runs_leave_the_project(api: Api) -> None:
    await api.store.ingest(run_event("a"))
    assert (await api.send("DELETE", "/v1/runs/a")).status == 204
    assert (await api.get("/v1/projects/shop"))["last_run_at"] is None


async def test_project_after_a_restore_is_inserted_again(api: Api, database_url: str) -> None:
    await api.store.ingest(run_event("a"))
    owner = await asyncpg.connect(database_url)
    await owner.execute("TRUNCATE projects")
    await owner.close()
    await api.store.ingest(run_event("b"))
    assert await ids(api) == ["shop"]


async def test_rolled_back_project_is_inserted_later(api: Api, monkeypatch: pytest.MonkeyPatch) -> None:
    async def fail(*_: Any) -> None:
        raise RuntimeError

    with monkeypatch.context() as patched:
        patched.setattr("service.projects.store.lock_or_insert", fail)
        [outcome] = await api.store.ingest(run_event("a"))
        assert outcome.status == "rejected"
    await api.store.ingest(run_event("b"))
    assert await ids(api) == ["shop"]


@pytest.mark.one_server  # creates a distributed table without its distribution
async def test_migration_creates_the_projects_of_stored_runs(api: Api, database_url: str) -> None:
    await api.store.ingest(run_event("a"), run_event("b"), run_event("c", project_id="blog"))
    created = await api.store.pool.fetch("SELECT project_id, min(created_at) FROM runs GROUP BY 1 ORDER BY 1")
    owner = await asyncpg.connect(database_url)
    await owner.execute("DROP TABLE projects, quarantines")
    await owner.execute(next(migration.sql for migration in all_migrations() if migration.version == 2))
    await owner.execute(
        "ALTER TABLE projects ADD COLUMN code_url_pattern text, ADD COLUMN deletion_requested_at date,"
        " ADD COLUMN untrusted_uploads bool NOT NULL DEFAULT false,"
        " ADD COLUMN auto_quarantine jsonb, ADD COLUMN auto_quarantine_status jsonb"
    )
    await owner.close()
    assert await api.store.pool.fetch("SELECT project_id, created_at FROM projects ORDER BY 1") == created
    assert await ids(api) == ["blog", "shop"]


async def test_pages_contain_every_project_once(api: Api) -> None:
    names = ["a", "b", "c", "\N{GRINNING FACE}" * 200]
    await api.store.ingest(*[run_event(f"run {name}"[:100], project_id=name) for name in names])
    pages = await api.list_all("/v1/projects", {"limit": "1"})
    assert [project["project_id"] for project in pages] == names
    assert [len((await api.get("/v1/projects", {"limit": limit}))["data"]) for limit in ("3", "4")] == [3, 4]
    assert (await api.get("/v1/projects", {"limit": "4"}))["has_more"] is False


async def test_default_branch_is_changed_once_per_idempotency_key(api: Api) -> None:
    await api.store.ingest(run_event("a"))
    status, project = await patch(api, "/v1/projects/shop", {"default_branch": "trunk"}, Idempotency_Key="k")
    assert (status, project["default_branch"]) == (200, "trunk")
    await patch(api, "/v1/projects/shop", {"default_branch": "release"})
    assert (await patch(api, "/v1/projects/shop", {"default_branch": "trunk"}, Idempotency_Key="k"))[1] == project
    assert (await api.get("/v1/projects/shop"))["default_branch"] == "release"
    actions = await api.store.pool.fetch("SELECT action FROM audit_trail")
    assert [row["action"] for row in actions] == ["PATCH /v1/projects/shop"] * 2


@pytest.mark.parametrize(
    ("body", "param"),
    [
        ({"default_branch": ""}, "default_branch"),
        ({"default_branch": None}, "default_branch"),
        ({"default_branch": "x" * 401}, "default_branch"),
        ({"default_branch": "a\0"}, "default_branch"),
        ({"default_branch": "main", "name": "x"}, "name"),
        ({"code_url_pattern": "http://git.example.org/{commit}/{file}"}, "code_url_pattern"),
        ({"code_url_pattern": "https://git.example.org/{file}"}, "code_url_pattern"),
        ({"code_url_pattern": ""}, "code_url_pattern"),
        ({"code_url_pattern": 7}, "code_url_pattern"),
    ],
)
async def test_invalid_change_names_the_field(shared_api: Api, body: Any, param: str) -> None:
    await shared_api.store.ingest(run_event("a"))
    status, error = await patch(shared_api, "/v1/projects/shop", body)
    assert (status, error["error"]["param"]) == (400, param)
    assert (await shared_api.get("/v1/projects/shop"))["default_branch"] == "main"


async def test_absent_fields_keep_their_values_and_null_removes_the_pattern(api: Api) -> None:
    await api.store.ingest(run_event("a"))
    pattern = "https://git.example.org/{commit}/{file}#L{line}"
    assert (await patch(api, "/v1/projects/shop", {}))[0] == 400
    await patch(api, "/v1/projects/shop", {"default_branch": "trunk"})
    status, project = await patch(api, "/v1/projects/shop", {"code_url_pattern": pattern})
    assert (status, project["default_branch"], project["code_url_pattern"]) == (200, "trunk", pattern)
    assert (await api.get("/v1/projects"))["data"] == [project]
    _, project = await patch(api, "/v1/projects/shop", {"code_url_pattern": None})
    assert (project["default_branch"], project["code_url_pattern"]) == ("trunk", None)


async def test_key_of_a_project_sees_and_changes_only_that_project(api: Api) -> None:
    await api.store.ingest(run_event("a", project_id="shop"), run_event("b", project_id="blog"))
    bound = (await api.make_key("admin", project_id="shop")).key
    assert await ids(api, bound) == ["shop"]
    for project_id in ("blog", "absent", "a%00b"):
        await api.error(f"/v1/projects/{project_id}", 404, key=bound)
        assert (await patch(api, f"/v1/projects/{project_id}", {"default_branch": "x"}, bound))[0] == 404
    assert (await patch(api, "/v1/projects/shop", {"default_branch": "x"}, bound))[0] == 200
    assert (await api.get("/v1/projects/blog"))["default_branch"] == "main"
