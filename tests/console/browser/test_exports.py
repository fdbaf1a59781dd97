"""Exports in the browser: an export is requested by the form, appears when it is finished, and is downloaded."""

from hashlib import sha256
from pathlib import Path

from playwright.async_api import Browser, Page, expect

from service.events.operations import number_events
from tests.console.browser.chromium import new_context
from tests.console.browser.demo_site import origin_of
from tests.console.browser.page_checks import PageProblems
from tests.console.browser.sign_in import sign_in
from tests.console.browser.streams import Streams
from tests.exporting import Exports, exporting
from tests.run_events import result, run_event

LIST = "/console/exports"


async def request_export(page: Page) -> None:
    """Request the failed results of a run in the form."""
    await page.goto(LIST)
    await page.get_by_label("Format").select_option("NDJSON")
    await page.get_by_label("Compression").select_option("gzip")
    await page.get_by_label("Run", exact=True).fill("run_1")
    await page.get_by_label("Failed").check()
    await page.get_by_role("button", name="Request export").click()
    await expect(page.get_by_text("Waits for a worker.")).to_be_visible()


async def finish(exports: Exports) -> None:
    """Run a worker until the newest export is finished, and number its event as the relay does."""
    [job] = (await exports.api.get("/v1/results/export"))["data"]
    async with exports.running_worker():
        await exports.finished(job["id"])
    await number_events(exports.api.store.pool)


async def download(page: Page, folder: Path) -> tuple[str, bytes]:
    """Return the name and the bytes of the file that the link downloads."""
    async with page.expect_download() as started:
        await page.get_by_role("link", name="Download").click()
    file = await started.value
    await file.save_as(folder / "downloaded")
    return file.suggested_filename, (folder / "downloaded").read_bytes()


async def test_downloaded_file_has_the_bytes_of_the_api(browser: Browser, database_url: str, tmp_path: Path) -> None:
    async with exporting(database_url, (tmp_path / "files").as_uri()) as exports:
        await exports.api.store.ingest(run_event("run_1", [result("a"), result("b", "failed")]))
        async with new_context(browser, origin_of(exports.api)) as context:
            page = await context.new_page()
            problems = await PageProblems.collect(page, origin_of(exports.api))
            await sign_in(page, exports.api.key)
            streams = await Streams.of(page)
            await request_export(page)
            await streams.wait(opened=1)
            await finish(exports)
            await expect(page.get_by_text("Succeeded")).to_be_visible()  # without a reload
            name, data = await download(page, tmp_path)
            [job] = (await exports.api.get("/v1/results/export"))["data"]
            assert (name, data) == ("results-run_1.ndjson.gz", await exports.file(job))
            assert (job["rows"], job["sha256"]) == (1, sha256(data).hexdigest())
            problems.check()
