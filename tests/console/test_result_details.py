"""The page of a result, and the files of artifacts in the console."""

import asyncio
import re
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any
from urllib.parse import quote

import pytest

from service.console import artifacts
from service.console.artifacts import SNIFFED_BYTES, sniff_image
from service.domain.errors import Unavailable
from service.storage import Storage
from tests.api.served import serve
from tests.console.browsers import RUNS, Browser, token_of
from tests.console.sections import main_text, section
from tests.run_events import result, run_event

PNG = b"\x89PNG\r\n\x1a\n" + bytes(40)
JPEG = b"\xff\xd8\xff\xe0" + bytes(40)
GIF = b"GIF89a" + bytes(40)
WEBP = b"RIFF\x00\x00\x00\x00WEBPVP8 " + bytes(40)
SVG = b'<svg xmlns="http://www.w3.org/2000/svg"><script>alert(1)</script></svg>'
HTML = b"<!doctype html><script>alert(1)</script>"
SANDBOX = "sandbox; default-src 'none'; frame-ancestors 'none'"
FAILURE = {
    "type": "AssertionError",
    "message": "\x1b[31mexpected <b>1</b>\x1b[0m",
    "details": "line 1\n\x1b[1mline 2\x1b[0m </code><script>alert(1)</script>",
}


@pytest.fixture
async def browser(database_url: str, tmp_path: Path) -> AsyncIterator[Browser]:
    async with serve(database_url, artifacts_url=(tmp_path / "files").as_uri()) as api:
        browser = Browser(api)
        await browser.sign_in()
        yield browser


async def ingest(browser: Browser, *results: Any, run_id: str = "run_1", **run: Any) -> str:
    """Store a run, and return the path of the page of its first result."""
    await browser.api.store.ingest(run_event(run_id, list(results), **run))
    found = await browser.api.get("/v1/results", {"run_id": run_id, "sort": "suite"})
    return f"/console/results/{found['data'][0]['id']}"


async def attach(browser: Browser, page: str, name: str, content: bytes, content_type: str = "text/plain") -> str:
    """Upload an artifact, and return its path in the console."""
    path = f"/v1/results/{page.rpartition('/')[2]}/artifacts/{quote(name, safe='')}"
    headers = {"Authorization": f"Bearer {browser.api.key}", "Content-Type": content_type}
    response = await browser.api.http.put(path, data=content, headers=headers)
    assert response.status == 201, await response.text()
    return f"/console/artifacts/{(await response.json())['id']}"


async def test_failure_is_shown_as_text_without_escape_sequences(browser: Browser) -> None:
    page = await browser.open(await ingest(browser, result(status="failed", failure=FAILURE)))
    text = section(page, "failure")
    assert "AssertionError expected <b>1</b> line 1 line 2 </code><script>alert(1)</script>" in text
    assert "<script>alert" not in page
    assert "\x1b" not in page
    assert "/console/runs/run_1/results?fingerprint=fp1_" in page


async def test_change_and_history_of_the_case_are_shown(browser: Browser) -> None:
    older = await ingest(browser, result(), run_id="run_1", branch="main", time="2026-05-20T10:00:00Z")
    newer = await ingest(browser, result(status="failed"), run_id="run_2", branch="main", time="2026-05-20T11:00:00Z")
    fixed = await ingest(browser, result(), run_id="run_3", branch="main", time="2026-05-20T12:00:00Z")
    page = await browser.open(newer)
    assert "New failure Passed in its last run on main" in main_text(page)
    assert "Last 3 results: 2 passed, 1 failed" in page
    strip = page.partition('<svg class="strip"')[2]
    assert strip.index(f'href="{older}"') < strip.index(f'href="{newer}"') < strip.index(f'href="{fixed}"')
    assert strip.count('aria-current="true"') == 1
    assert f'href="{newer}" aria-current="true"' in strip
    assert "Fixed Failed in run_2" in main_text(await browser.open(fixed))
    assert "Not compared" in main_text(await browser.open(older))
    assert "Added" not in main_text(await browser.open(older))
    same = await ingest(browser, result(), run_id="run_4", branch="main", time="2026-05-20T13:00:00Z")
    unchanged = await browser.open(same)
    assert "Unchanged, passed in run_3" in main_text(unchanged)
    assert "#i-dot" not in unchanged.partition("<main")[2]
    assert "/console/cases/case_" in page


async def test_quarantine_is_stated(browser: Browser) -> None:
    path = await ingest(browser, result(status="failed"))
    quarantine = {"project_id": "shop", "name": "logs in", "reason": "ticket is open"}
    assert (await browser.api.send("POST", "/v1/quarantines", json=quarantine)).status == 201
    text = main_text(await browser.open(path))
    assert "Quarantined until" in text
    assert "ticket is open" in text


async def test_attempts_are_listed(browser: Browser) -> None:
    attempts = [{"status": "failed", "failure": FAILURE}, {"status": "passed", "logs_ref": "javascript:alert(1)"}]
    page = await browser.open(await ingest(browser, result(attempts=attempts)))
    assert "Flaky" in main_text(page)
    assert "Attempts 2 Failed in attempt 1, passed in attempt 2 1 Failed" in section(page, "attempts")
    assert "last failing attempt" in section(page, "failure")
    assert 'href="javascript' not in page


async def test_rerun_that_passes_is_flaky_and_shows_the_output_of_each_attempt(browser: Browser) -> None:
    failed, passed = result(status="failed", failure=FAILURE), result()
    await ingest(browser, failed, part="unit", attempt=11)
    path = await ingest(browser, passed, part="unit", attempt=12)
    await attach(browser, path, "stdout.txt", b"the first output", "text/plain")
    await attach(browser, path, "stdout (attempt 2).txt", b"the second output", "text/plain")
    page = await browser.open(path)
    text = section(page, "attempts")
    assert "Failed in attempt 1 of job unit, passed in attempt 2" in text
    first, _, second = text.partition("2 Passed")
    assert "Attempt 1 of job unit" in first
    assert "the first output" in first
    assert "the second output" not in first
    assert "Attempt 2 of job unit" in second
    assert "the second output Download" in second
    assert section(page, "log-1") == ""
    assert section(page, "artifacts") == ""


async def test_output_of_an_unknown_attempt_is_shown_with_no_attempt(browser: Browser) -> None:
    failed = result(status="failed", failure=FAILURE)
    await ingest(browser, failed, part="unit", attempt=1)
    path = await ingest(browser, failed, part="unit", attempt=2)
    await attach(browser, path, "server.log", b"the output", "text/plain")
    page = await browser.open(path)
    assert "the output" not in section(page, "attempts")
    assert "the output" in section(page, "log-1")


async def test_failures_of_the_run_are_linked(browser: Browser) -> None:
    names = ("a", "b", "c")
    await ingest(browser, *(result(name, "failed") for name in names), result("passes"))
    failing = {
        each["id"]: each["name"] for each in (await browser.api.get("/v1/results", {"status": "failed"}))["data"]
    }
    visited, path = [], f"/console/results/{sorted(failing, key=signed_key)[0]}"
    while path:
        page = await browser.open(path)
        visited.append(path.rpartition("/")[2])
        assert f"Failure {len(visited)} of 3" in main_text(page)
        previous = re.search(r'rel="prev" data-key="p"[^>]*href="/console/results/(\w+)"', page)
        assert (previous[1] if previous else None) == (visited[-2] if len(visited) > 1 else None)
        following = re.search(r'rel="next" data-key="n"[^>]*href="([^"]+)"', page)
        path = following[1] if following else ""
    assert set(visited) == set(failing)
    passed = (await browser.api.get("/v1/results", {"status": "passed"}))["data"][0]["id"]
    assert "Failures of the run" not in await browser.open(f"/console/results/{passed}")


def signed_key(result_id: str) -> int:
    """Return the key of the case, by which the failures of a run are sorted."""
    number = int(result_id[-16:], 16)
    return number - 2**64 if number >= 2**63 else number


async def test_form_quarantines_the_case_of_the_failure(browser: Browser) -> None:
    failed = result(status="failed", failure=FAILURE, properties={"owner": "web team"})
    path = await ingest(browser, failed)
    page = await browser.open(path)
    form = page.partition('id="quarantine"')[2].partition("</form>")[0]
    assert "expected &lt;b&gt;1&lt;/b&gt;</textarea>" in form
    assert 'value="web team"' in form
    action = re.search(r'action="(/console/cases/case_\w+)#quarantine"', form)
    expires = re.search(r'name="expires_at"[^>]*value="([^"]+)"|value="([^"]+)"[^>]*name="expires_at"', form)
    assert action is not None
    assert expires is not None
    fields = {"form_token": token_of(page), "reason": "known", "expires_at": expires[1] or expires[2]}
    assert (await browser.post(action[1], fields)).status == 303
    page = await browser.open(path)
    assert "known" in main_text(page)
    assert 'id="quarantine"' not in page


async def test_result_has_a_link_to_copy_and_the_place_of_its_failure(browser: Browser) -> None:
    failure = {"message": "expected 1", "details": "tests/test_cart.py:97: AssertionError"}
    path = await ingest(browser, result(status="failed", file="tests/test_cart.py", failure=failure))
    page = await browser.open(path)
    assert f'href="{path}" data-copy' in page
    assert "At tests/test_cart.py:97" in section(page, "failure")


CONTEXT: dict[str, Any] = {
    "commit_sha": "c0ffee0123456789", "pull_request": "7", "repository_url": "https://github.com/acme/shop",
    "job_url": "https://ci.example.com/jobs/3", "title": "Pay in euros", "author": "Ann", "workflow": "tests",
    "pipeline": "github-812",
}  # fmt: skip


async def test_code_is_linked_at_the_commit(browser: Browser) -> None:
    failure = {"message": "expected 1", "details": "tests/test_cart.py:97: AssertionError"}
    path = await ingest(browser, result(status="failed", file="tests/test_cart.py", failure=failure), **CONTEXT)
    page = await browser.open(path)
    repository = "https://github.com/acme/shop"
    commit = "c0ffee0123456789"
    for url in (
        f"{repository}/blob/{commit}/tests/test_cart.py#L97", f"{repository}/commit/{commit}", f"{repository}/pull/7",
        "https://ci.example.com/jobs/3",
    ):  # fmt: skip
        assert re.search(f'href="{re.escape(url)}" rel="noopener noreferrer nofollow"', page), url
    changed = {"code_url_pattern": "https://code.example.com/{commit}/{file}?l={line}"}
    assert (await browser.api.send("PATCH", "/v1/projects/shop", json=changed)).status == 200
    assert f"https://code.example.com/{commit}/tests/test_cart.py?l=97" in await browser.open(path)
    run = await browser.open("/console/runs/run_1")
    for text in ("Pay in euros", "run_1", "Ann", "Workflow tests", "Pipeline github-812"):
        assert text in main_text(run)
    assert f'href="{repository}/pull/7"' in run


async def test_run_without_a_known_code_host_has_no_links(browser: Browser) -> None:
    source = {**CONTEXT, "repository_url": "https://code.example.com/acme/shop", "pipeline": None}
    failure = {"message": "at tests/test_cart.py:97"}
    page = await browser.open(await ingest(browser, result(status="failed", failure=failure), **source))
    assert "At tests/test_cart.py:97" in section(page, "failure")
    assert 'href="https://code' not in page


async def test_passed_result_has_no_failure(browser: Browser) -> None:
    page = await browser.open(
        await ingest(browser, result(file="a.py", properties={"owner": "<web>"}, variant={"os": "linux"}))
    )
    assert section(page, "failure") == section(page, "attempts") == ""
    assert "a.py" in section(page, "details")
    assert "owner <web>" in section(page, "details")
    assert "os: linux" in main_text(page)


async def test_result_of_others_is_not_found(browser: Browser) -> None:
    path = await ingest(browser, result(), project_id="blog")
    file = await attach(browser, path, "a.log", b"text")
    key = await browser.api.make_key(project_id="shop")
    _, other_key = await browser.api.make_organization("other")
    unknown = f"/console/artifacts/art_{'0' * 64}"
    for unauthorized in (key.key, other_key):
        await browser.post("/console/sign-out", {"form_token": token_of(await browser.open(RUNS))})
        await browser.sign_in(unauthorized)
        for page in (path, file, "/console/results/res_1", "/console/artifacts/art_1", unknown):
            await browser.open(page, 404)


async def test_files_of_other_results_and_of_the_run_are_only_on_their_own_pages(browser: Browser) -> None:
    failed = await ingest(browser, result("logs in", "failed"), result("pays", suite="z"))
    await attach(browser, failed, "own.png", PNG, "image/png")
    await attach(browser, failed, "own.log", b"own output")
    sql = "UPDATE artifacts SET case_key = 0, kind = $2, name = 'of the run ' || name WHERE name = $1"
    for name, kind in (("shot.png", "screenshot"), ("output.log", "log")):
        await attach(browser, failed, name, PNG if kind == "screenshot" else b"output of all", "image/png")
        await browser.api.store.pool.execute(sql, name, kind)
    silent = await browser.api.get("/v1/results", {"status": "passed"})

    page, other = await browser.open(failed), await browser.open(f"/console/results/{silent['data'][0]['id']}")
    assert section(page, "images") == "Images own.png"
    assert section(page, "log-1") == "own.log Download 10 bytes own output"
    for shown in (page, other):
        assert "of the run " not in section(shown, "artifacts") + section(shown, "images")
        assert "output of all" not in shown
        assert 'href="/console/runs/run_1#artifacts"' in shown
    assert (section(other, "images"), section(other, "artifacts"), section(other, "log-1")) == ("", "", "")
    text = section(await browser.open(f"{RUNS}/run_1"), "artifacts")
    assert "of the run shot.png" in text
    assert "of the run output.log" in text
    assert "own" not in text


async def test_only_raster_images_are_inline(browser: Browser) -> None:
    path = await ingest(browser, result(status="failed"))
    for name, content, content_type in (
        ("a.png", PNG, "text/html"), ("a.jpg", JPEG, "image/jpeg"), ("a.gif", GIF, "image/gif"), ("a.webp", WEBP, "")
    ):  # fmt: skip
        response = await browser.send("GET", await attach(browser, path, name, content, content_type or "image/webp"))
        assert response.headers["Content-Type"].startswith("image/"), name
        assert response.headers["Content-Disposition"].startswith(f'inline; filename="{name}"')
        assert response.headers["Content-Security-Policy"] == SANDBOX
        assert response.headers["X-Content-Type-Options"] == "nosniff"
        assert await response.read() == content


async def test_other_files_are_downloads(browser: Browser) -> None:
    path = await ingest(browser, result(status="failed"))
    for name, content, content_type in (
        ("a.svg", SVG, "image/svg+xml"),
        ("a.html", HTML, "text/html"),
        ("b.png", HTML, "image/png"),
        ("a.txt", b"text", "text/plain"),
        ("a.pdf", b"%PDF-1.7 <script>", "application/pdf"),
        ("empty.png", b"", "image/png"),
        ("c.webp", b"RIFF\x00\x00\x00\x00WAVE", "image/webp"),
    ):
        response = await browser.send("GET", await attach(browser, path, name, content, content_type))
        assert response.status == 200
        assert response.headers["Content-Type"] == "application/octet-stream", name
        assert response.headers["Content-Disposition"].startswith(f'attachment; filename="{name}"')
        assert response.headers["Content-Security-Policy"] == SANDBOX
        assert response.headers["X-Content-Type-Options"] == "nosniff"
        assert await response.read() == content
    page = await browser.open(path)
    assert "<img" not in page
    assert "a.svg" in section(page, "artifacts")


async def test_files_have_ranges_and_are_cached_privately(browser: Browser) -> None:
    file = await attach(browser, await ingest(browser, result()), "a.txt", b"0123456789")
    response = await browser.send("GET", file, Range="bytes=2-4")
    assert (response.status, await response.read()) == (206, b"234")
    assert response.headers["Cache-Control"].startswith("private")
    response = await browser.send("GET", file, If_None_Match=response.headers["ETag"])
    assert response.status == 304
    assert response.headers["Content-Security-Policy"] == SANDBOX


async def test_artifacts_of_a_result_are_listed(browser: Browser) -> None:
    reference = {"name": "trace <b>", "uri": "https://files.example.com/1"}
    script = {"name": "script", "uri": "javascript:alert(1)"}
    path = await ingest(browser, result(status="failed", artifacts=[reference, script]))
    image = await attach(browser, path, "a.png", PNG, "image/png")
    page = await browser.open(path)
    assert f'<img src="{image}" alt="a.png"' in page
    assert 'href="https://files.example.com/1"' in page
    assert 'href="javascript' not in page
    assert section(page, "images") == "Images a.png"
    assert section(page, "artifacts") == "Artifacts trace <b> Other script Other"


async def test_trace_is_a_download_with_the_command_that_opens_it(browser: Browser) -> None:
    path = await ingest(browser, result(status="failed", artifacts=[{"name": "trace.zip", "uri": "trace.zip"}]))
    command = "npx playwright show-trace"
    assert command not in await browser.open(path)
    trace = await attach(browser, path, "trace.zip", b"PK\x03\x04", "application/zip")
    await attach(browser, path, "pay/trace $(id) '1.zip", b"PK\x03\x04", "application/zip")
    await attach(browser, path, "logs.zip", b"PK\x03\x04", "application/zip")
    listed = await browser.open(path)
    assert f"<code>{command} trace.zip</code>" in listed
    assert f"""{command} 'pay_trace $(id) '"'"'1.zip'""" in section(listed, "artifacts")
    assert listed.count(command) == 2
    response = await browser.send("GET", trace)
    assert response.headers["Content-Disposition"].startswith('attachment; filename="trace.zip"')


async def test_log_is_shown_as_text(browser: Browser) -> None:
    path = await ingest(browser, result(status="failed"))
    file = await attach(browser, path, "a.log", b"\x1b[32mready\x1b[0m <script>alert(1)</script> \xff")
    page = await browser.open(path)
    assert "ready <script>alert(1)</script> \N{REPLACEMENT CHARACTER}" in section(page, "log-1")
    assert f'href="{file}"' in page
    assert "<script>alert" not in page


async def test_end_of_a_long_log_is_shown(browser: Browser) -> None:
    path = await ingest(browser, result(status="failed"))
    lines = [f"line {number:06}" for number in range(10_000)]
    await attach(browser, path, "a.log", "\n".join(lines).encode())
    page = await browser.open(path)
    text = section(page, "log-1")
    assert "Only the end is shown. 85.1 KiB before it are omitted." in text
    assert "line 009999" in text
    assert "line 007269" not in text
    assert " ne 0" not in text
    assert len(page) < 60_000


async def test_file_that_is_missing_in_the_storage_is_stated(browser: Browser, tmp_path: Path) -> None:
    path = await ingest(browser, result(status="failed"))
    file = await attach(browser, path, "a.log", b"text")
    image = await attach(browser, path, "a.png", PNG, "image/png")
    stored = [entry for entry in (tmp_path / "files").rglob("*") if entry.is_file()]
    for entry in stored:
        entry.unlink()
    page = await browser.open(path)
    assert "The file can't be read" in section(page, "log-1")
    assert "<img" not in page
    for missing in (file, image):
        assert "no longer in storage" in await browser.open(missing, 404)


@pytest.mark.parametrize("is_slow", [False, True])
async def test_storage_that_fails_or_is_slow_is_read_once(
    browser: Browser, monkeypatch: pytest.MonkeyPatch, is_slow: bool
) -> None:
    path = await ingest(browser, result(status="failed"))
    for number in range(2):
        await attach(browser, path, f"{number}.png", PNG, "image/png")
        await attach(browser, path, f"{number}.log", b"text")
    reads = []

    async def fail(_: Storage, path: str, *__: int) -> None:
        reads.append(path)
        await asyncio.sleep(20 if is_slow else 0)
        raise Unavailable("the file storage does not respond")

    monkeypatch.setattr(Storage, "read", fail)
    monkeypatch.setattr(artifacts, "_TIMEOUT_S", 0.05)
    page = await browser.open(path)
    assert len(reads) == 1
    assert "<img" not in page
    assert "The file can't be read" in section(page, "log-1")
    assert "1.png" in section(page, "artifacts")


async def test_artifacts_have_pages(browser: Browser, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("service.console.result_details.ARTIFACTS", 2)
    path = await ingest(browser, result(artifacts=[{"name": f"a{n}", "uri": f"s3://b/{n}"} for n in range(3)]))
    page = await browser.open(path)
    assert section(page, "artifacts").count(" a") + section(page, "artifacts").count("Artifacts a") >= 2
    url = page.partition('class="page-links"')[2].partition('href="')[2].partition('"')[0].replace("&amp;", "&")
    more = section(await browser.open(url), "artifacts")
    seen = {name for name in ("a0", "a1", "a2") if name in section(page, "artifacts") + more}
    assert seen == {"a0", "a1", "a2"}
    await browser.open(f"{path}?starting_after=x", 400)


@pytest.mark.parametrize("content", [PNG, JPEG, GIF, WEBP])
def test_start_of_a_file_is_enough_to_detect_an_image(content: bytes) -> None:
    assert sniff_image(content[:SNIFFED_BYTES])
    assert sniff_image(b" " + content) is None
    assert sniff_image(content[:3] if content is not JPEG else content[:2]) is None
