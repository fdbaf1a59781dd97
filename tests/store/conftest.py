"""A filled store and the API's view of it."""

from collections.abc import AsyncIterator

import asyncpg
import pytest

from service.store import database
from tests.store.filled import fill
from tests.stored import Store, open_store


@pytest.fixture
async def store(database_url: str) -> AsyncIterator[Store]:
    async with open_store(database_url) as opened:
        yield opened


@pytest.fixture
async def filled(store: Store) -> Store:
    await fill(store)
    return store


@pytest.fixture
async def api_pool(database_url: str) -> AsyncIterator[asyncpg.Pool]:
    pool = await database.open_pool(database_url, "results_api", 2)
    yield pool
    await database.close_pool(pool)
