"""The files of a result on its page: images, logs, and downloads."""

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from service.artifacts import pages as artifacts_pages
from service.artifacts.pages import SNIFFED_BYTES, sniff_image
from service.domain.errors import Unavailable
from service.storage import Storage
from tests.console.browsers import RUNS, Browser
from tests.console.sections import section
from tests.results.result_pages import PNG, attach, browsing_with_files, ingest
from tests.run_events import result

JPEG = b"\xff\xd8\xff\xe0" + bytes(40)
GIF = b"GIF89a" + bytes(40)
WEBP = b"RIFF\x00\x00\x00\x00WEBPVP8 " + bytes(40)
SVG = b'<svg xmlns="http://www.w3.org/2000/svg"><script>alert(1)</script></svg>'
HTML = b"<!doctype html><script>alert(1)</script>"
SANDBOX = "sandbox; default-src 'none'; frame-ancestors 'none'"


@pytest.fixture
async def browser(database_url: str, tmp_path: Path) -> AsyncIterator[Browser]:
    async with browsing_with_files(database_url, tmp_path / "files") as browser:
        yield browser


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
    monkeypatch.setattr(artifacts_pages, "_TIMEOUT_S", 0.05)
    page = await browser.open(path)
    assert len(reads) == 1
    assert "<img" not in page
    assert "The file can't be read" in section(page, "log-1")
    assert "1.png" in section(page, "artifacts")


async def test_artifacts_have_pages(browser: Browser, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("service.results.pages._ARTIFACTS", 2)
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
