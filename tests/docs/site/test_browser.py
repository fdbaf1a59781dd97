"""Tests of the site in Chromium, in each setting: accessibility, layout, search, and the Content-Security-Policy."""

from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest
import pytest_asyncio
from playwright.async_api import Browser, Page

from tests.console.browser.chromium import MISSING, SETTINGS, Setting, find_chromium, new_context, running_chromium
from tests.console.browser.page_checks import (
    PageProblems,
    Transfer,
    check_accessibility,
    check_layout,
    check_outline,
)
from tests.docs.site.serving import serving_folder

pytestmark = [pytest.mark.nightly, pytest.mark.asyncio(loop_scope="module")]

# The landing page, and a page each with code, wide tables, pictures, and many headings.
PATHS = ("/", "/guides/ci/", "/reports/", "/concepts/", "/growth/", "/operations/", "/project/readme/", "/404.html")
MAX_LANDING_PAGE_BYTES = 700_000


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def browser() -> AsyncIterator[Browser]:
    path = find_chromium()
    if path is None:
        pytest.skip(MISSING)
    async with running_chromium(path) as running:
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


@pytest.mark.parametrize("path", PATHS)
async def test_page_is_accessible_and_fits_the_window(page: Page, path: str) -> None:
    await page.goto(path)
    await check_outline(page)
    await check_layout(page)
    await check_accessibility(page)


async def test_landing_page_is_small_and_shows_pictures_of_the_color_scheme(page: Page, setting: Setting) -> None:
    transfer = await Transfer.measure(page)
    await page.goto("/", wait_until="networkidle")
    assert 0 < transfer.bytes < MAX_LANDING_PAGE_BYTES
    shown = [picture for picture in await page.locator(".picture img").all() if await picture.is_visible()]
    sources = [await picture.evaluate("picture => picture.currentSrc") for picture in shown]
    assert len(sources) == 2
    assert [("dark" in source) for source in sources] == [setting.color_scheme == "dark"] * 2


async def test_search_finds_a_section(page: Page) -> None:
    await page.goto("/tutorial/")
    await page.keyboard.press("/")
    await page.keyboard.type("dead letters")
    await page.locator(".md-search-result__item a[href*='operations/#dead-letters']").first.wait_for()


@pytest.mark.parametrize("setting", SETTINGS[:1], ids=str)
async def test_copy_button_copies_only_commands(page: Page) -> None:
    await page.context.grant_permissions(["clipboard-read", "clipboard-write"])
    await page.goto("/project/readme/")
    await page.locator(".highlight", has_text="zof-results gate --run-id ci-43").last.locator("button").first.click()
    copied: str = await page.evaluate("navigator.clipboard.readText()")
    assert "blocked:" not in copied
    assert "$ " not in copied
    assert "zof-results gate" in copied
