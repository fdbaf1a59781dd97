"""Every page of the console in a real browser, in each setting: accessibility, layout, keyboard, and size."""

import pytest
from playwright.async_api import Page

from tests.console.browser.chromium import SETTINGS, Setting
from tests.console.browser.demo_site import DemoSite
from tests.console.browser.page_checks import (
    Transfer,
    check_accessibility,
    check_keyboard,
    check_layout,
    check_outline,
)
from tests.console.browser.pages import PAGES, PageCase

MAX_FIRST_VIEW_BYTES = 100_000


@pytest.fixture(params=SETTINGS, ids=str)
def setting(request: pytest.FixtureRequest) -> Setting:
    chosen: Setting = request.param
    return chosen


@pytest.mark.parametrize("case", PAGES, ids=str)
async def test_page_is_accessible_and_fits_the_window(page: Page, site: DemoSite, case: PageCase) -> None:
    await page.goto(case.path(site))
    await check_outline(page)
    await check_layout(page)
    await check_accessibility(page)


@pytest.mark.parametrize("setting", [SETTINGS[0], SETTINGS[2]], ids=str)
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
