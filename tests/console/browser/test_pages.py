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
    check_texts,
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


@pytest.mark.parametrize("setting", [Setting(320, "light"), Setting(390, "light")], ids=str)
async def test_narrow_window_shows_all_items_of_the_navigation_and_of_views(
    page: Page, site: DemoSite, setting: Setting
) -> None:
    for name in ("runs", "publishers", f"tests?project_id={site.project_id}"):
        await page.goto(f"/console/{name}")
        links = await page.locator("nav a").all()
        assert len(links) >= 7
        for link in links:
            box = await link.bounding_box()
            assert box is not None
            assert box["x"] >= 0, await link.inner_text()
            assert box["x"] + box["width"] <= setting.width, await link.inner_text()


@pytest.mark.parametrize("setting", [Setting(390, "light")], ids=str)
async def test_number_of_results_is_below_its_value_in_a_narrow_window(page: Page, site: DemoSite) -> None:
    await page.goto(f"/console/cases/{site.failing['case']}")
    duration = page.locator("#variants td[data-label=Duration]")
    value, base = await duration.locator(".duration").bounding_box(), await duration.locator(".base").bounding_box()
    assert value is not None
    assert base is not None
    assert base["x"] == value["x"]
    assert base["y"] > value["y"]


@pytest.mark.parametrize("setting", [Setting(width, "light") for width in (390, 500, 1280)], ids=str)
async def test_no_page_truncates_an_option_or_a_placeholder_or_breaks_a_word(page: Page, site: DemoSite) -> None:
    for case in PAGES:
        await page.goto(case.path(site))
        await page.evaluate("for (const details of document.querySelectorAll('main details')) details.open = true")
        await check_texts(page)


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
