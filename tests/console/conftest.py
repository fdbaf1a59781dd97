"""A browser for each test, or for the tests of a module."""

from collections.abc import AsyncIterator

import pytest
import pytest_asyncio

from tests.api.served import serve
from tests.console.browsers import Browser


@pytest.fixture
async def browser(database_url: str) -> AsyncIterator[Browser]:
    async with serve(database_url) as api:
        yield Browser(api)


@pytest.fixture
async def signed_in(browser: Browser) -> Browser:
    """A browser that is signed in with an admin key."""
    response = await browser.sign_in()
    assert response.status == 303, await response.text()
    return browser


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def shared_browser(shared_database_url: str) -> AsyncIterator[Browser]:
    """A browser that is signed in, for the tests of a module that don't affect each other."""
    async with serve(shared_database_url) as api:
        opened = Browser(api)
        assert (await opened.sign_in()).status == 303
        yield opened
