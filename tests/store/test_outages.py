"""What the loss of a connection looks like to those who use it."""

import asyncio
import time

import asyncpg
import pytest

from service.domain.errors import Unavailable
from service.store.postgres.database import outages_as_unavailable


@pytest.mark.parametrize("steps", range(4))
async def test_a_connection_that_the_server_has_ended_is_an_outage(database_url: str, steps: int) -> None:
    """However much of it has been noticed: after one step the server's farewell is read, but not the end behind it."""
    ending, other = await asyncpg.connect(database_url), await asyncpg.connect(database_url)
    await other.execute("SELECT pg_terminate_backend($1)", ending.get_server_pid())
    await other.close()
    time.sleep(0.2)  # noqa: ASYNC251 - both have come, and this loop has read neither
    for _ in range(steps):
        await asyncio.sleep(0)
    with pytest.raises(Unavailable):
        async with outages_as_unavailable():
            await ending.fetchval("SELECT 1")
