"""A lost connection is reported as an outage."""

import asyncio
import time

import asyncpg
import pytest

from service.database.errors import OutagesAsUnavailable
from service.domain.errors import Unavailable


@pytest.mark.one_server
@pytest.mark.parametrize("steps", range(4))
async def test_terminated_connection_is_an_outage(database_url: str, steps: int) -> None:
    """In each state of the driver: after one step it has read the last message, but not the end of file."""
    ending, other = await asyncpg.connect(database_url), await asyncpg.connect(database_url)
    await other.execute("SELECT pg_terminate_backend($1)", ending.get_server_pid())
    await other.close()
    time.sleep(0.2)  # noqa: ASYNC251 - both arrive before the event loop reads them
    for _ in range(steps):
        await asyncio.sleep(0)
    with pytest.raises(Unavailable):
        async with OutagesAsUnavailable():
            await ending.fetchval("SELECT 1")
