"""Tests of the site in Chromium, in each setting: accessibility, layout, search, and the Content-Security-Policy."""

import gzip
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Final

import pytest
import pytest_asyncio
from axe_playwright_python.async_playwright import Axe
from playwright.async_api import Browser, Page, Response

from tests.console.browser.chromium import SETTINGS, Setting, chromium_or_skip, new_context
from tests.console.browser.page_checks import PageProblems, check_layout, check_outline
from tests.docs.site.serving import serving_folder

pytestmark = [pytest.mark.nightly, pytest.mark.asyncio(loop_scope="module")]

# Pages with code, wide tables, and pictures.
PATHS: Final = ("/guides/ci/", "/reports/", "/concepts/", "/404.html")
MAX_LANDING_PAGE_BYTES: Final = 600_000  # compressed, with the search index
WCAG: Final = {"runOnly": ["wcag2a", "wcag2aa", "wcag21a", "wcag21aa", "wcag22aa"]}


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def browser() -> AsyncIterator[Browser]:
    async with chromium_or_skip() as running:
        yield running


@pytest.fixture(scope="module")
def origin(built_site: Path) -> Iterator[str]:
    with serving_folder(built_site) as url:
        yield url


@pytest.fixture(params=SETTINGS, ids=str)
def setting(request: pytest.FixtureRequest) -> Setting:
    chosen: Setting = request.param
    return chosen


@pytest_asyncio.fixture(loop_scope="module")
async def page(browser: Browser, origin: str, setting: Setting) -> AsyncIterator[Page]:
    """A page that must not report a problem."""
    async with new_context(browser, origin, setting) as context:
        page = await context.new_page()
        problems = await PageProblems.collect(page, origin)
        yield page
        problems.check()


async def check_presentation(page: Page) -> None:
    await check_outline(page)
    await check_layout(page)
    results = await Axe().run(page, options=WCAG)
    assert results.violations_count == 0, results.generate_report()


async def test_landing_page_is_accessible_and_fits_the_window(page: Page) -> None:
    await page.goto("/")
    await check_presentation(page)


# Each width and each theme once.
@pytest.mark.parametrize("setting", [SETTINGS[0], SETTINGS[3]], ids=str)
@pytest.mark.parametrize("path", PATHS)
async def test_page_is_accessible_and_fits_the_window(page: Page, path: str) -> None:
    await page.goto(path)
    await check_presentation(page)


async def test_landing_page_is_small_and_shows_pictures_of_the_color_scheme(page: Page, setting: Setting) -> None:
    responses: list[Response] = []
    page.on("response", lambda response: responses.append(response))
    await page.goto("/", wait_until="networkidle")
    bodies = [await response.body() for response in responses]
    assert 0 < sum(len(gzip.compress(body)) for body in bodies) < MAX_LANDING_PAGE_BYTES
    sources = [await picture.evaluate("picture => picture.currentSrc") for picture in await page.locator("img").all()]
    pictures = [source for source in sources if "/screenshots/" in source]
    assert pictures
    assert ["dark" in picture for picture in pictures] == [setting.color_scheme == "dark"] * len(pictures)


@pytest.mark.parametrize("setting", [SETTINGS[0], SETTINGS[3]], ids=str)
async def test_search_finds_a_section(page: Page) -> None:
    await page.goto("/tutorial/")
    await page.keyboard.press("/")
    await page.keyboard.type("dead letters")
    await page.locator(".md-search-result__link[href*='/operations/dead-letters/']").first.wait_for()


@pytest.mark.parametrize("setting", SETTINGS[:1], ids=str)
async def test_runbook_urls_of_older_rules_lead_to_the_page_of_alerts(page: Page) -> None:
    await page.goto("/operations/#resultsapimissing")
    await page.wait_for_url("**/operations/alerts/#resultsapimissing")


@pytest.mark.parametrize("setting", SETTINGS[:1], ids=str)
async def test_copy_button_copies_only_commands(page: Page) -> None:
    await page.context.grant_permissions(["clipboard-read", "clipboard-write"])
    await page.goto("/project/readme/")
    await page.locator(".highlight", has_text="zof-results gate --run-id ci-43").last.locator("button").first.click()
    copied: str = await page.evaluate("navigator.clipboard.readText()")
    assert "blocked:" not in copied
    assert "$ " not in copied
    assert "zof-results gate" in copied
