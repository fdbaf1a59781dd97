"""Fixtures of a store."""

from collections.abc import AsyncIterator

import pytest

from tests.stored import Store, open_store


@pytest.fixture
async def store(database_url: str) -> AsyncIterator[Store]:
    async with open_store(database_url) as opened:
        yield opened
