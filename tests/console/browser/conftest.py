"""A browser and a console with data for the session, and a signed-in page for each test. Needs Chromium."""

from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest
import pytest_asyncio
from playwright.async_api import Browser, BrowserContext, Page, StorageState

from tests.console.browser.chromium import WIDE, Setting, chromium_or_skip, new_context
from tests.console.browser.demo_site import DemoSite, origin_of, serving_demo
from tests.console.browser.page_checks import PageProblems
from tests.console.browser.sign_in import sign_in
from tests.databases import cloned_database
from tests.oidc.provider import oidc_packages as oidc_packages
from tests.served import Api, serve

_FOLDER = Path(__file__).parent


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Mark the tests of this folder: they are slow, and share the event loop of the browser."""
    for item in items:
        if item.path.parent == _FOLDER:
            item.add_marker(pytest.mark.slow)
            item.add_marker(pytest.mark.asyncio(loop_scope="session"), append=False)


@pytest_asyncio.fixture(scope="session", loop_scope="session")
async def browser() -> AsyncIterator[Browser]:
    async with chromium_or_skip() as running:
        yield running


@pytest.fixture(scope="session")
def demo_database_url(browser: Browser, postgres_url: str, template: str) -> Iterator[str]:
    """The database of `site`."""
    with cloned_database(postgres_url, template) as url:
        yield url


@pytest_asyncio.fixture(scope="session", loop_scope="session")
async def site(demo_database_url: str, tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[DemoSite]:
    """A console with the demo history. Tests that change its data use their own."""
    async with serving_demo(demo_database_url, tmp_path_factory.mktemp("console")) as served:
        yield served


@pytest.fixture
def setting() -> Setting:
    """The window width and color scheme of `page`. Tests override it with parameters."""
    return WIDE


@pytest_asyncio.fixture(scope="session", loop_scope="session")
async def session_of_admin(browser: Browser, site: DemoSite) -> StorageState:
    """The cookies of a browser in which an admin has signed in. Sign-in attempts are limited, so tests share them."""
    async with new_context(browser, site.origin) as context:
        page = await context.new_page()
        await sign_in(page, site.api.key)
        return await context.storage_state()


@pytest_asyncio.fixture(loop_scope="session")
async def context(
    browser: Browser, site: DemoSite, setting: Setting, session_of_admin: StorageState
) -> AsyncIterator[BrowserContext]:
    """A browser context with the session of an admin and an empty cache."""
    async with new_context(browser, site.origin, setting, session_of_admin) as opened:
        yield opened


@pytest_asyncio.fixture(loop_scope="session")
async def page(context: BrowserContext, site: DemoSite) -> AsyncIterator[Page]:
    """A signed-in page. Fails the test at its end if the browser reported a problem."""
    opened = await context.new_page()
    problems = await PageProblems.collect(opened, site.origin)
    yield opened
    problems.check()


@pytest_asyncio.fixture(loop_scope="session")
async def api(browser: Browser, database_url: str) -> AsyncIterator[Api]:
    """A console without data, which only this test uses."""
    async with serve(database_url) as served:
        yield served


@pytest_asyncio.fixture(loop_scope="session")
async def live_page(browser: Browser, api: Api) -> AsyncIterator[Page]:
    """A page of the empty console, signed in as an admin. The test checks its problems itself, if at all."""
    async with new_context(browser, origin_of(api)) as context:
        opened = await context.new_page()
        await sign_in(opened, api.key)
        yield opened
