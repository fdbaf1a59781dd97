"""A served API for the tests of the MCP server."""

from collections.abc import AsyncIterator

import pytest

from tests.api.served import Api, serve


@pytest.fixture
async def api(database_url: str) -> AsyncIterator[Api]:
    async with serve(database_url) as served:
        yield served
