"""The page of exports: the form, the states of jobs, the download, and the keys that can use them."""

import asyncio
import re
import sys
from collections.abc import AsyncIterator
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from service.domain.errors import InvalidRequest
from service.events.operations import number_events
from tests.console.browsers import RUNS, Browser, token_of
from tests.console.sections import main_text
from tests.events.test_pages import read_until
from tests.exporting import Exports, exporting
from tests.quarantines.test_pages import problem_at
from tests.run_events import result, run_event

LIST = "/console/exports"
API = "/v1/results/export"
UNKNOWN = "exp_" + "0" * 32


@pytest.fixture
async def exports(database_url: str, tmp_path: Path) -> AsyncIterator[Exports]:
    async with exporting(database_url, (tmp_path / "files").as_uri()) as opened:
        await opened.api.store.ingest(run_event("run_1", [result("a"), result("b", "failed")], project_id="shop"))
        yield opened


@pytest.fixture
async def user(exports: Exports) -> Browser:
    """A browser that is signed in with an admin key."""
    browser = Browser(exports.api)
    await browser.sign_in()
    return browser


async def jobs(browser: Browser) -> Any:
    return (await browser.api.get(API))["data"]


async def token(browser: Browser) -> dict[str, str]:
    return {"form_token": token_of(await browser.open(LIST))}


async def blank(browser: Browser, **fields: str) -> dict[str, str]:
    """Return the fields that a browser sends from the form, in which the user filled in these."""
    names = ("run_id", "project_id", "branch", "environment", "from", "to", "compression")
    options = {"content": "results", "format": "csv"}
    return {**await token(browser), **options, **dict.fromkeys(names, ""), **fields}


async def post(browser: Browser, path: str) -> int:
    response = await browser.post(path, await token(browser))
    assert response.headers.get("Location", LIST) == LIST
    return response.status


async def test_form_requests_an_export_with_its_filters(user: Browser) -> None:
    fields = {"format": "json", "compression": "zstd", "run_id": "run_1", "project_id": "shop", "status": "failed"}
    dates = {"from": "2026-05-01", "to": "2026-06-01"}
    response = await user.post(LIST, await blank(user, **fields, **dates, branch="main", environment="staging"))
    assert (response.status, response.headers["Location"]) == (303, LIST)
    [job] = await jobs(user)
    assert (job["format"], job["compression"], job["raw"]) == ("json", "zstd", False)
    names = {"run_id": "run_1", "project_id": "shop", "branch": "main", "environment": "staging", "status": ["failed"]}
    filter_ = {name: value.removesuffix("T00:00:00Z") for name, value in job["filter"].items() if name in dates}
    assert {**job["filter"], **filter_} == {**names, **dates}
    text = main_text(await user.open(LIST))
    for part in (
        "Queued Results, JSON zstd",
        "Run: run_1",
        "Project: shop",
        "Status: failed",
        "Branch: main",
        "Waits for a",
    ):
        assert part in text, part
    actions = [entry["action"] for entry in await user.api.store.pool.fetch("SELECT action FROM audit_trail")]
    assert f"POST {LIST}" in actions


async def test_form_without_filters_exports_all_results(user: Browser) -> None:
    await user.post(LIST, await blank(user))
    [job] = await jobs(user)
    assert (job["format"], job["compression"], job["filter"]) == ("csv", "none", {})
    assert "Queued Results, CSV uncompressed No filters" in main_text(await user.open(LIST))


@pytest.mark.parametrize(
    ("field", "value", "problem"),
    [
        ("format", "xlsx", "csv"),
        ("compression", "brotli", "none"),
        ("from", "yesterday", "RFC 3339"),
        ("branch", "\x00", "NUL"),
        ("project_id", "webshopp", "Project &#39;webshopp&#39; not found"),
    ],
)
async def test_wrong_field_is_shown_in_the_form(user: Browser, field: str, value: str, problem: str) -> None:
    response = await user.post(LIST, await blank(user, **{"run_id": 'a"b', "status": "failed", field: value}))
    page = await response.text()
    assert response.status == 400
    assert problem in problem_at(page, field)
    assert 'value="a&#34;b"' in page
    assert 'value="failed" checked' in page
    assert await jobs(user) == []


async def test_runs_are_exported_too(exports: Exports, user: Browser) -> None:
    await user.post(LIST, await blank(user, content="runs", branch="main"))
    [job] = await jobs(user)
    assert (job["content"], job["filter"]) == ("runs", {"branch": "main"})
    assert "Queued Runs, CSV uncompressed Branch: main" in main_text(await user.open(LIST))
    rejected = await user.post(LIST, await blank(user, content="runs", status="failed"))
    assert rejected.status == 400
    assert "filter.status: is not supported with the content runs" in main_text(await rejected.text())
    increment = await exports.run(content="runs", updated_since="0")
    text = main_text(await user.open(LIST))
    assert "Succeeded Runs, CSV uncompressed Changed since: 0 Requested" in text
    assert re.search(r" 1 run \d+ bytes ", text)
    assert await post(user, f"{LIST}/{increment['id']}/repeat") == 303
    assert (await jobs(user))[0]["updated_since"] == "0"


async def test_query_fills_in_the_form_but_requests_nothing(user: Browser) -> None:
    page = await user.open(f"{LIST}?run_id=run_1&status=error&format=parquet&from=2026-05-01")
    for value in ('value="run_1"', 'value="error" checked', 'value="parquet" selected', 'value="2026-05-01"'):
        assert value in page
    assert await jobs(user) == []
    assert "&#39;color&#39; is not supported" in await user.open(f"{LIST}?color=red", 400)


async def test_page_of_a_run_links_to_the_form(exports: Exports, user: Browser) -> None:
    link = f'href="{LIST}?run_id=run_1#new"'
    assert link in await user.open(f"{RUNS}/run_1")
    await user.post("/console/sign-out", await token(user))
    await user.sign_in((await exports.api.make_key("viewer")).key)
    assert link not in await user.open(f"{RUNS}/run_1")


async def test_key_of_a_project_exports_only_that_project(exports: Exports) -> None:
    await exports.api.store.ingest(run_event("of_blog", project_id="blog"))
    await exports.request(filter={"project_id": "blog"})
    browser = Browser(exports.api)
    await browser.sign_in((await exports.api.make_key("engineer", project_id="shop")).key)
    page = await browser.open(LIST)
    assert "Project: blog" not in page
    assert re.search(r'name="project_id" type="text" value="shop"[^>]* readonly', page)
    rejected = await browser.post(LIST, await blank(browser, project_id="blog"))
    assert rejected.status == 403
    assert "bound to the project &#39;shop&#39;" in await rejected.text()
    await browser.post(LIST, await blank(browser))
    assert [job["filter"] for job in await jobs(browser)] == [{"project_id": "shop"}, {"project_id": "blog"}]
    other = (await jobs(browser))[1]["id"]
    for path in (f"{LIST}/{other}/repeat", f"{LIST}/{other}/delete"):
        assert await post(browser, path) == 404
    await browser.open(f"{LIST}/{other}/file", 404)


async def test_viewer_can_not_export(exports: Exports) -> None:
    job = await exports.run()
    browser = Browser(exports.api)
    await browser.sign_in((await exports.api.make_key("viewer")).key)
    page = await browser.open(RUNS)
    assert LIST not in page
    fields = {"form_token": token_of(page), "format": "csv"}
    forbidden = await browser.open(LIST, 403)
    assert "results:export is required" in forbidden
    assert 'name="format"' not in forbidden
    await browser.open(f"{LIST}/{job['id']}/file", 403)
    for path in (LIST, f"{LIST}/{job['id']}/repeat", f"{LIST}/{job['id']}/delete"):
        assert (await browser.post(path, fields)).status == 403
    assert [listed["id"] for listed in await jobs(browser)] == [job["id"]]


async def test_form_with_a_wrong_token_or_of_another_site_changes_nothing(exports: Exports, user: Browser) -> None:
    job = await exports.request()
    for path in (LIST, f"{LIST}/{job['id']}/repeat", f"{LIST}/{job['id']}/delete"):
        fields = await blank(user)
        assert (await user.post(path, {**fields, "form_token": "x"})).status == 403
        assert (await user.post(path, fields, Sec_Fetch_Site="cross-site")).status == 403
    assert [(listed["id"], listed["status"]) for listed in await jobs(user)] == [(job["id"], "queued")]


@pytest.mark.parametrize(
    ("options", "name"),
    [
        ({"format": "csv"}, "results-run_1.csv"),
        ({"format": "ndjson", "compression": "gzip"}, "results-run_1.ndjson.gz"),
    ],
    ids=["csv", "gzip"],
)
async def test_download_has_exactly_the_bytes_of_the_api(
    exports: Exports, user: Browser, options: dict[str, str], name: str
) -> None:
    job = await exports.run(**options, filter={"run_id": "run_1"})
    page = await user.open(LIST)
    text = main_text(page)
    assert "2 results" in text
    assert f"{job['size']} bytes" in text
    assert job["sha256"] in text
    path = f"{LIST}/{job['id']}/file"
    assert f'href="{path}"' in page
    response = await user.send("GET", path)
    assert await response.read() == await exports.file(job)
    assert response.headers["Content-Disposition"] == f"attachment; filename=\"{name}\"; filename*=UTF-8''{name}"
    assert response.headers["ETag"] == f'"{job["sha256"]}"'
    assert int(response.headers["Content-Length"]) == job["size"]
    part = await user.send("GET", path, Range="bytes=0-3")
    assert (part.status, await part.read()) == (206, (await exports.file(job))[:4])


async def test_unfinished_export_has_no_file_and_can_be_canceled(exports: Exports, user: Browser) -> None:
    job = await exports.request()
    page = await user.open(LIST)
    assert "/file" not in page
    assert 'data-live="/console/exports/stream"' in page
    await user.open(f"{LIST}/{job['id']}/file", 409)
    assert await post(user, f"{LIST}/{job['id']}/delete") == 303
    page = await user.open(LIST)
    assert "Canceled" in main_text(page)
    assert "data-live=" not in page
    assert await post(user, f"{LIST}/{job['id']}/delete") == 303
    assert "No exports yet" in main_text(await user.open(LIST))


async def test_running_export_shows_its_progress(exports: Exports, user: Browser) -> None:
    await exports.request()
    await user.api.store.pool.execute("UPDATE exports SET status = 'running', claim = gen_random_uuid(),"
                                      " lease_until = now() + interval '1 hour', progress = 0.426")  # fmt: skip
    page = await user.open(LIST)
    assert '<progress aria-label="Progress of the export" max="1" value="0.426">' in page
    assert "Running" in main_text(page)
    assert "42.6%" in main_text(page)


async def test_failed_export_shows_the_reason_and_the_next_step(
    exports: Exports, user: Browser, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def fail(*_: object) -> None:
        raise InvalidRequest("the <disk> is full")

    monkeypatch.setattr(exports.exporter, "_write_file", fail)
    monkeypatch.setattr("service.exports.run_export.RETRY_DELAYS", (timedelta(0), timedelta(0)))
    job = await exports.request()
    async with exports.running_worker():
        await exports.finished(job["id"])
    text = main_text(await user.open(LIST))
    assert f"Failed Results, CSV uncompressed No filters Requested {job['created_at'][:10]}" in text
    assert "The export failed: the <disk> is full. If a new request fails too, report the ID" in text
    assert job["id"] in text


async def test_parquet_without_its_library_fails_at_once_with_the_remedy(
    exports: Exports, user: Browser, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "pyarrow", None)
    job = await exports.request("parquet")
    async with exports.running_worker():
        assert (await exports.finished(job["id"]))["status"] == "failed"
    text = main_text(await user.open(LIST))
    assert "can't write Parquet. Choose another format, or ask the operator of the service to install" in text
    assert "`" not in text


async def test_expired_export_can_be_requested_again_with_everything(exports: Exports, user: Browser) -> None:
    options = {"compression": "gzip", "columns": ["name", "id"], "raw": True}
    filter_ = {"run_id": "run_1", "flaky": False, "label": ["a:b", "c:d"], "min_duration_ms": 0}
    job = await exports.run("csv", filter=filter_, **options)
    await user.api.store.pool.execute("UPDATE exports SET expires_at = now() - interval '1 minute'")
    await exports.exporter.expire_files()
    text = main_text(await user.open(LIST))
    assert "Expired Results, CSV gzip, 2 columns, raw" in text
    assert "The file was deleted" in text
    for part in ("Label: a:b", "Label: c:d", "Flaky results: false", "At least ms: 0"):
        assert part in text
    assert "expired" in await user.open(f"{LIST}/{job['id']}/file", 410)
    assert await post(user, f"{LIST}/{job['id']}/repeat") == 303
    newest, expired = await jobs(user)
    assert (newest["status"], expired["id"]) == ("queued", job["id"])
    for name in ("format", "compression", "columns", "raw", "filter"):
        assert newest[name] == job[name], name


async def test_job_that_this_version_does_not_support_is_not_repeated(exports: Exports, user: Browser) -> None:
    job = await exports.request()
    await user.api.store.pool.execute('UPDATE exports SET request = request || \'{"format": "xlsx"}\'')
    assert "xlsx" in await user.open(LIST)
    assert await post(user, f"{LIST}/{job['id']}/repeat") == 409


async def test_unknown_export_is_not_found(exports: Exports, user: Browser) -> None:
    for export_id in (UNKNOWN, "exp_1", "x%2Fy"):
        await user.open(f"{LIST}/{export_id}/file", 404)
        for action in ("repeat", "delete"):
            assert await post(user, f"{LIST}/{export_id}/{action}") == 404


async def test_list_has_pages(exports: Exports, user: Browser) -> None:
    ids = [(await exports.request())["id"] for _ in range(3)][::-1]
    page = await user.open(f"{LIST}?limit=2")
    assert re.findall(r"/exports/(exp_\w+)/delete", page) == ids[:2]
    found = re.search(r'href="([^"]+)" rel="next"', page)
    assert found is not None
    page = await user.open(found[1].replace("&amp;", "&"))
    assert re.findall(r"/exports/(exp_\w+)/delete", page) == ids[2:]
    assert f'href="{LIST}?limit=2"' in page


async def test_stream_reports_a_finished_export_of_the_project(exports: Exports) -> None:
    await exports.api.store.ingest(run_event("of_blog", project_id="blog"))
    await number_events(exports.api.store.pool)
    browser = Browser(exports.api)
    await browser.sign_in((await exports.api.make_key("engineer", project_id="shop")).key)
    response = await browser.send("GET", f"{LIST}/stream", Accept="text/event-stream")
    await read_until(response, b"retry: 2000\n")
    await exports.run(filter={"project_id": "blog"})
    await number_events(exports.api.store.pool)
    with pytest.raises(TimeoutError):
        async with asyncio.timeout(0.3):
            await read_until(response, b"event: changed\n")
    await exports.run(filter={"project_id": "shop"})
    await number_events(exports.api.store.pool)
    await read_until(response, b"event: changed\n")
    response.close()
