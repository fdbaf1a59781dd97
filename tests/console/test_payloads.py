"""Cross-site scripting: payloads in every field of producers and users add no element and no attribute to any page."""

from itertools import cycle
from pathlib import Path

import pytest

from tests.console.browser.demo_site import DemoSite
from tests.console.browser.pages import PAGES
from tests.console.browsers import Browser
from tests.console.markup import ElementShape, PageMarkup
from tests.console.payload_site import PayloadWriter, fill_pages, storage_of
from tests.console.payloads import BENIGN, BENIGN_URL, EVALUATED, PAYLOADS, POLYGLOT, URLS
from tests.served import serve


async def check_payloads(
    database_url: str, folder: Path, payloads: dict[str, str], *, with_reports: bool = False
) -> None:
    """Open every page with the payloads, and compare its elements with those of the pages with plain text."""
    storage_url = storage_of(folder)
    async with serve(database_url, artifacts_url=storage_url, rate_limit="off") as api:
        browser = Browser(api)
        await browser.sign_in()
        await fill_pages(api)
        known: set[ElementShape] = set()
        texts = [("benign", BENIGN, BENIGN_URL), *zip(payloads, payloads.values(), cycle(URLS), strict=False)]
        for name, payload, url in texts:
            writer = PayloadWriter(api, storage_url, payload, url)
            site = await writer.write()
            sites = [site, await writer.write_report(site)] if with_reports else [site]
            if name == "benign":
                known = await shapes_of(browser, sites)
            for written in sites:
                await check_pages(browser, written, name, payload, known)


async def shapes_of(browser: Browser, sites: list[DemoSite]) -> set[ElementShape]:
    """Return the elements of all pages."""
    pages = [await browser.open(page.path(site)) for site in sites for page in PAGES]
    return {shape for page in pages for shape in PageMarkup(page).shapes}


async def check_pages(browser: Browser, site: DemoSite, name: str, payload: str, known: set[ElementShape]) -> None:
    for page in PAGES:
        markup = PageMarkup(await browser.open(page.path(site)))
        assert not markup.problems, (name, page.name)
        assert markup.shapes <= known, (name, page.name, markup.shapes - known)
        text = "".join(markup.text)
        assert EVALUATED not in text, (name, page.name)
        assert payload in text or not page.shows_producer_texts, (name, page.name)


async def test_payload_adds_no_markup_to_any_page(database_url: str, tmp_path: Path) -> None:
    await check_payloads(database_url, tmp_path, {"polyglot": POLYGLOT})


@pytest.mark.slow
async def test_no_payload_adds_markup_to_any_page(database_url: str, tmp_path: Path) -> None:
    await check_payloads(database_url, tmp_path, PAYLOADS, with_reports=True)


@pytest.mark.parametrize(
    "page",
    [
        "<script>x</script>",
        "<a href='javascript:x'>x</a>",
        "<a href=' java\nscript:x'>x</a>",
        "<a href='//other.example'>x</a>",
        "<p onclick=x>x</p>",
        "<p style='color: red'>x</p>",
        "<form action='data:text/html,x'></form>",
        "<iframe src='/console/runs'></iframe>",
    ],
)
def test_unsafe_markup_is_found(page: str) -> None:
    assert PageMarkup(page).problems
    assert not PageMarkup("<a href='/console/runs'>x</a><a href='https://ci.example.com/1'>x</a>").problems
