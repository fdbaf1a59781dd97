"""The page of a result: keys, the form that quarantines its case, and the link to copy."""

import pytest
from playwright.async_api import BrowserContext, Page, expect

from tests.console.browser.chromium import SETTINGS, Setting
from tests.console.browser.demo_site import DemoSite
from tests.console.browser.page_checks import check_accessibility, check_layout


@pytest.fixture(params=[SETTINGS[0], SETTINGS[2]], ids=str)
def setting(request: pytest.FixtureRequest) -> Setting:
    chosen: Setting = request.param
    return chosen


def path_of(site: DemoSite) -> str:
    return f"/console/results/{site.failing['id']}"


async def test_keys_lead_to_the_other_failures_of_the_run(page: Page, site: DemoSite) -> None:
    await page.goto(path_of(site))
    href = await page.locator("a[rel=next]").get_attribute("href")
    assert href
    await page.keyboard.press("n")
    await page.wait_for_url(f"**{href}")
    await page.keyboard.press("p")
    await page.wait_for_url(f"**{path_of(site)}")


async def test_open_quarantine_form_is_accessible_and_fits_the_window(page: Page, site: DemoSite) -> None:
    await page.goto(path_of(site))
    await page.get_by_text("Quarantine", exact=True).first.click()
    await expect(page.get_by_label("Reason")).to_have_value(
        "the error doesn't contain the last log lines of the component"
    )
    await check_layout(page)
    await check_accessibility(page)


async def test_link_is_copied(context: BrowserContext, page: Page, site: DemoSite) -> None:
    await context.grant_permissions(["clipboard-read", "clipboard-write"])
    await page.goto(f"{path_of(site)}#details")
    await page.get_by_text("Copy link").click()
    await expect(page.get_by_text("Link copied")).to_be_visible()
    assert await page.evaluate("navigator.clipboard.readText()") == f"{site.origin}{path_of(site)}"
