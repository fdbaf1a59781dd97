"""Stores with rows, and connections with the role of the API."""

from collections.abc import AsyncIterator, Iterator
from typing import Any

import asyncpg
import pytest

from service.database import database
from service.domain.ids import OrgId
from tests.databases import cloned_database, run_in_new_loop
from tests.store import large
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


@pytest.fixture(scope="session")
def large_url(postgres_url: str, template: str) -> Iterator[str]:
    """The URL of a database that is large enough for realistic plans. Tests share it and only read it."""
    with cloned_database(postgres_url, template) as url:
        run_in_new_loop(large.fill(url))
        yield url


@pytest.fixture
async def connection(large_url: str) -> AsyncIterator[Any]:
    """A connection for the first organization of the large database."""
    pool = await database.open_pool(large_url, "results_api", 1)
    async with database.as_organization(pool, OrgId(1)) as connection:
        yield connection
    await database.close_pool(pool)
