"""The pages of single sign-on in the browser, in each setting, and the redirects to the provider and back."""

from collections.abc import AsyncIterator

import pytest
import pytest_asyncio
from playwright.async_api import Browser, Page, expect

from tests.console.browser.chromium import SETTINGS, Setting, new_context
from tests.console.browser.demo_site import origin_of
from tests.console.browser.page_checks import (
    PageProblems,
    check_accessibility,
    check_keyboard,
    check_layout,
    check_outline,
)
from tests.console.browser.sign_in import SIGN_IN
from tests.members import add_member
from tests.oidc.providers import ADA, Provider, running_provider
from tests.served import Api, serve

RUNS = "/console/runs"
LONG = "a-very-long-name-of-an-organization-or-project"

pytestmark = pytest.mark.nightly


@pytest_asyncio.fixture(loop_scope="session")
async def provider(browser: Browser) -> AsyncIterator[Provider]:
    async with running_provider() as running:
        unknown = {**ADA, "sub": "eve-1", "email": f"eve@{LONG}.example.org"}
        running.people = {"Ada": ADA, "Eve": unknown, "Nobody": {**unknown, "email_verified": False}}
        yield running


@pytest_asyncio.fixture(loop_scope="session")
async def api(provider: Provider, database_url: str) -> AsyncIterator[Api]:
    async with serve(database_url, **provider.settings) as served:
        provider.console = origin_of(served)
        yield served


async def check(page: Page) -> None:
    await check_outline(page)
    await check_layout(page)
    await check_accessibility(page)
    await check_keyboard(page)


@pytest.mark.parametrize("setting", SETTINGS, ids=str)
async def test_pages_are_accessible_and_fit_the_window(
    browser: Browser, api: Api, provider: Provider, setting: Setting
) -> None:
    org_id, _ = await api.make_organization(LONG)
    await add_member(api, "ada@example.org", role="admin")
    await add_member(api, "ada@example.org", role="viewer", org_id=org_id, project_id=LONG)
    async with new_context(browser, origin_of(api), setting) as context:
        page = await context.new_page()
        problems = await PageProblems.collect(page, origin_of(api))
        with problems.expected("request to another origin|status of 403"):
            await page.goto(f"{SIGN_IN}?next={RUNS}?branch=main")
            await check(page)
            for name in ("Eve", "Nobody"):
                await page.goto(SIGN_IN)
                await page.get_by_role("link", name="single sign-on").click()
                await page.get_by_role("link", name=name).click()
                await expect(page.get_by_role("heading", name="No access")).to_be_visible()
                await check(page)
            await page.get_by_role("link", name="another person").click()
            await page.get_by_role("link", name="Ada").click()
            await expect(page.get_by_role("heading", name="Select access")).to_be_visible()
            await check(page)
            await page.get_by_role("button", name=LONG).click()
            await page.wait_for_url(f"**{RUNS}")
            await check(page)
            await page.get_by_role("link", name="Switch").click()
            await page.get_by_role("link", name="Ada").click()
            await page.get_by_role("button", name="acme").click()
            await page.wait_for_url(f"**{RUNS}")
            await page.get_by_role("button", name="Sign out").click()
            await page.wait_for_url(f"{provider.url}/end?**")
        problems.check()
        await page.goto(RUNS)
        assert SIGN_IN in page.url
