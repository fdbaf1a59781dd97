"""Cross-site scripting in the browser: no payload runs as a script on any page, even without the security policy."""

from collections.abc import AsyncIterator
from itertools import cycle
from pathlib import Path
from typing import Any

import pytest
import pytest_asyncio
from playwright.async_api import Browser, Page

from tests.console.browser.chromium import WIDE, new_context
from tests.console.browser.demo_site import DemoSite, origin_of
from tests.console.browser.page_checks import PageProblems
from tests.console.browser.pages import PAGES
from tests.console.browser.sign_in import sign_in
from tests.console.payload_site import FILES, PayloadWriter, storage_of
from tests.console.payloads import BENIGN, BENIGN_URL, PAYLOADS, URLS
from tests.served import Api, serve

# Elements with event handlers, and everything that a click or the focus could run.
_FIND_DANGERS = """
() => {
  const urls = ["href", "src", "action", "formaction", "data", "xlink:href"];
  return [...document.querySelectorAll("*")].filter((element) =>
    element.getAttributeNames().some((name) => name.startsWith("on") || name === "srcdoc"
      || (urls.includes(name) && !/^(https?:|[/?#]|$)/.test(element.getAttribute(name))))
    || ["IFRAME", "OBJECT", "EMBED", "BASE"].includes(element.tagName)
    || (element.tagName === "SCRIPT" && !element.src.startsWith(`${location.origin}/console/static/`))
  ).map((element) => element.outerHTML.slice(0, 200));
}
"""
_TRIGGER_HANDLERS = """
() => {
  for (const element of document.querySelectorAll("main *")) {
    for (const name of ["mouseover", "focus", "load", "error"]) element.dispatchEvent(new Event(name));
  }
}
"""


@pytest_asyncio.fixture(loop_scope="session")
async def payload_api(browser: Browser, database_url: str, tmp_path: Path) -> AsyncIterator[Api]:
    async with serve(database_url, artifacts_url=storage_of(tmp_path), rate_limit="off") as api:
        yield api


async def find_scripts(page: Page) -> Any:
    """Return what a payload ran or added."""
    await page.evaluate(_TRIGGER_HANDLERS)
    return await page.evaluate("window.xss ?? null"), await page.evaluate(_FIND_DANGERS)


async def check_pages(page: Page, *sites: DemoSite) -> None:
    """Open every page, and fail if a payload ran."""
    for path in dict.fromkeys(case.path(site) for site in sites for case in PAGES):
        await page.goto(path)
        assert await find_scripts(page) == (None, []), path


@pytest.mark.nightly
async def test_no_payload_runs(browser: Browser, payload_api: Api, tmp_path: Path) -> None:
    async with new_context(browser, origin_of(payload_api), WIDE, bypass_csp=True) as context:
        page = await context.new_page()
        await sign_in(page, payload_api.key)
        problems = await PageProblems.collect(page, origin_of(payload_api))
        for payload, url in zip(PAYLOADS.values(), cycle(URLS), strict=False):
            writer = PayloadWriter(payload_api, storage_of(tmp_path), payload, url)
            site = await writer.write()
            await check_pages(page, site, await writer.write_report(site))
        problems.check()


async def test_uploaded_files_never_render(browser: Browser, payload_api: Api, tmp_path: Path) -> None:
    site = await PayloadWriter(payload_api, storage_of(tmp_path), BENIGN, BENIGN_URL).write()
    artifacts = (await payload_api.get(f"/v1/results/{site.failing['id']}/artifacts"))["data"]
    uploaded = [artifact["id"] for artifact in artifacts if not artifact["uri"]]
    assert len(uploaded) == len(FILES)
    async with new_context(browser, origin_of(payload_api)) as context:
        page = await context.new_page()
        await sign_in(page, payload_api.key)
        for artifact_id in uploaded:  # HTML, SVG, text, and HTML with the name and type of an image
            async with page.expect_download() as downloading:
                await page.evaluate("(path) => { location.href = path }", f"/console/artifacts/{artifact_id}")
            download = await downloading.value
            assert (await download.path()).read_bytes() in {content for _, content in FILES.values()}
        assert await page.evaluate("window.xss ?? null") is None


@pytest.mark.parametrize("html", ["<script>window.xss = 1</script>", "<b onmouseover='window.xss = 1'>x</b>"])
async def test_script_that_runs_is_found(browser: Browser, html: str) -> None:
    async with new_context(browser, "http://console.test", WIDE, bypass_csp=True) as context:
        page = await context.new_page()
        await page.set_content(f"<main>{html}</main>")
        marker, dangers = await find_scripts(page)
        assert marker == 1
        assert dangers
