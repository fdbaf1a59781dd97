"""A served API for each test, or for the tests of a module."""

from collections.abc import AsyncIterator

import pytest
import pytest_asyncio

from tests.api.served import Api, serve


@pytest.fixture
async def api(database_url: str) -> AsyncIterator[Api]:
    async with serve(database_url) as served:
        yield served


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def shared_api(shared_database_url: str) -> AsyncIterator[Api]:
    """An API for the tests of a module that don't affect each other."""
    async with serve(shared_database_url) as served:
        yield served
