"""A connection of a pool that is lost during its use: its user raises the original error, not one of the cleanup."""

import asyncio
from collections.abc import Callable
from contextlib import AbstractAsyncContextManager
from typing import Any

import asyncpg
import pytest

from service.database.database import is_lost
from service.database.notifications import listening
from service.domain.ids import OrgId
from service.exports.readers import open_snapshot
from tests.stored import Store

ORG = OrgId(1)


async def end_session(connection: Any, database_url: str) -> None:
    """End the session on the server. The pool then detaches the connection."""
    owner = await asyncpg.connect(database_url)
    assert await owner.fetchval("SELECT pg_terminate_backend($1, 5000)", connection.get_server_pid())
    await owner.close()
    await asyncio.sleep(0.1)


async def abort(connection: Any, _: str) -> None:
    """Close the connection as the driver does after an error of the protocol. The pool doesn't detach it."""
    connection._con._abort()


pytestmark = pytest.mark.one_server
LOSSES = pytest.mark.parametrize("lose", [end_session, abort])


def snapshot(store: Store, connection: asyncpg.Connection) -> AbstractAsyncContextManager[Any]:
    return open_snapshot(store.pool, ORG)


def listener(store: Store, connection: asyncpg.Connection) -> AbstractAsyncContextManager[Any]:
    return listening(connection, "channel", lambda _: None)


@LOSSES
@pytest.mark.parametrize("use", [snapshot, listener])
async def test_error_of_the_user_of_a_lost_connection_is_raised(
    store: Store, database_url: str, use: Callable[[Store, Any], AbstractAsyncContextManager[Any]], lose: Any
) -> None:
    async def lose_and_fail(connection: Any) -> None:
        async with use(store, connection) as opened:
            await lose(opened or connection, database_url)
            raise ZeroDivisionError

    async with store.pool.acquire() as connection:
        with pytest.raises(ZeroDivisionError):
            await lose_and_fail(connection)


@LOSSES
async def test_lost_connection_is_known(store: Store, database_url: str, lose: Any) -> None:
    async with store.pool.acquire() as connection:
        assert not is_lost(connection)
        await lose(connection, database_url)
        assert is_lost(connection)
