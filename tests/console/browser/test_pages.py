"""Every page of the console in a real browser, in each setting: accessibility, layout, keyboard, and size."""

import pytest
from playwright.async_api import Browser, BrowserContext, Page

from tests.console.browser.chromium import SETTINGS, Setting, new_context
from tests.console.browser.demo_site import DemoSite
from tests.console.browser.page_checks import (
    PageProblems,
    Transfer,
    check_accessibility,
    check_keyboard,
    check_layout,
    check_outline,
)
from tests.console.browser.pages import PAGES, PageCase, run_path
from tests.console.browser.sign_in import SIGN_IN

NOT_FOUND = "/console/nothing"
MAX_FIRST_VIEW_BYTES = 100_000


# Each width and each theme once; the other combinations in `make test-nightly`.
@pytest.fixture(
    params=[SETTINGS[0], *(pytest.param(each, marks=pytest.mark.nightly) for each in SETTINGS[1:3]), SETTINGS[3]],
    ids=str,
)
def setting(request: pytest.FixtureRequest) -> Setting:
    chosen: Setting = request.param
    return chosen


async def check_presentation(page: Page) -> None:
    await check_outline(page)
    await check_layout(page)
    await check_accessibility(page)


@pytest.mark.parametrize("case", PAGES, ids=str)
async def test_page_is_accessible_and_fits_the_window(page: Page, site: DemoSite, case: PageCase) -> None:
    await page.goto(case.path(site))
    await check_presentation(page)


@pytest.mark.parametrize("setting", [SETTINGS[0], pytest.param(SETTINGS[2], marks=pytest.mark.nightly)], ids=str)
@pytest.mark.parametrize("case", PAGES, ids=str)
async def test_every_control_is_reached_with_the_keyboard(page: Page, site: DemoSite, case: PageCase) -> None:
    await page.goto(case.path(site))
    await check_keyboard(page)


@pytest.mark.parametrize("setting", SETTINGS[:1], ids=str)
@pytest.mark.parametrize("case", PAGES, ids=str)
async def test_first_view_is_small(page: Page, site: DemoSite, case: PageCase) -> None:
    transfer = await Transfer.measure(page)
    await page.goto(case.path(site))
    assert 0 < transfer.bytes < MAX_FIRST_VIEW_BYTES


@pytest.mark.parametrize("setting", [Setting(390, "light")], ids=str)
@pytest.mark.parametrize("name", ["runs", "quarantines", "publishers"])
async def test_narrow_navigation_shows_the_current_page_and_can_be_scrolled(
    page: Page, site: DemoSite, name: str
) -> None:
    await page.goto(f"/console/{name}")
    navigation, current = page.get_by_role("navigation", name="Main"), page.locator("nav a[aria-current]")
    outer, inner = await navigation.bounding_box(), await current.bounding_box()
    assert outer is not None
    assert inner is not None
    assert outer["x"] <= inner["x"] + 1
    assert inner["x"] + inner["width"] <= outer["x"] + outer["width"] + 1
    for edge in (10_000, 0):
        await navigation.evaluate(f"element => {{ element.scrollLeft = {edge} }}")
        await page.wait_for_timeout(300)
        position = await navigation.evaluate("element => element.scrollLeft")
        assert (position > 0) == (edge > 0)


async def test_sign_in_page_is_accessible_and_fits_the_window(
    browser: Browser, site: DemoSite, setting: Setting
) -> None:
    async with new_context(browser, site.origin, setting) as context:
        page = await context.new_page()
        problems = await PageProblems.collect(page, site.origin)
        await page.goto(SIGN_IN)
        await check_presentation(page)
        await check_keyboard(page)
        problems.check()


async def test_missing_pages_are_accessible_and_fit_the_window(context: BrowserContext, site: DemoSite) -> None:
    page = await context.new_page()
    problems = await PageProblems.collect(page, site.origin)
    for path in (NOT_FOUND, run_path(site.queued_run_id)):
        with problems.expected("404"):
            await page.goto(path)
        await check_presentation(page)
        await check_keyboard(page)
    problems.check()
