"""A browser for each test."""

from collections.abc import AsyncIterator

import pytest

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
