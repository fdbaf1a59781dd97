"""The internals of asyncpg that the store uses are those of the installed version."""

from contextlib import suppress
from typing import Any

import asyncpg

from service.database.asyncpg_internals import BEGIN, COMMIT, READ_ONLY
from tests.internals import assert_unchanged, parameters

DRIVER: Any = asyncpg.Connection  # the stubs lack its internals
MODULE = "service/database/asyncpg_internals.py"


class RecordingConnection(DRIVER):  # type: ignore[misc]
    """A connection that records the calls of the methods that the store overrides."""

    def __init__(self, *arguments: Any) -> None:
        super().__init__(*arguments)
        self.transport = arguments[1]
        self.calls: list[str] = []

    async def execute(self, query: str, *arguments: Any, **named: Any) -> Any:
        self.calls.append(query)
        return await super().execute(query, *arguments, **named)

    async def _execute(self, *arguments: Any, **named: Any) -> Any:
        self.calls.append("_execute")
        return await super()._execute(*arguments, **named)

    async def _do_execute(self, *arguments: Any, **named: Any) -> Any:
        self.calls.append("_do_execute")
        return await super()._do_execute(*arguments, **named)

    def _cancel_current_command(self, *arguments: Any, **named: Any) -> None:
        self.calls.append("_cancel_current_command")
        super()._cancel_current_command(*arguments, **named)
        self.is_canceling = self._protocol._is_cancelling()  # codespell:ignore cancelling - a name of the driver


async def assert_connections_are_unchanged(url: str) -> None:
    connection: Any = await asyncpg.connect(url, connection_class=RecordingConnection, command_timeout=60)
    async with connection.transaction():
        pass
    async with connection.transaction(isolation="repeatable_read", readonly=True):
        pass
    start, end, start_of_reading, _ = connection.calls
    connection.calls.clear()
    await connection.fetchval("SELECT $1::int", 1)
    with suppress(TimeoutError):
        await connection.fetchval("SELECT pg_sleep(10)", timeout=0.1)
    await connection.close()
    assert_unchanged(["asyncpg"], MODULE, {
        "the second argument of Connection is the transport": lambda: connection.transport.get_extra_info,
        "transactions pass BEGIN to execute": lambda: start.startswith(BEGIN) and READ_ONLY not in start,
        "transactions that only read pass READ ONLY to execute": lambda: READ_ONLY in start_of_reading,
        "transactions pass COMMIT to execute": lambda: end == COMMIT,
        "statements call _execute, then _do_execute": lambda: connection.calls[:2] == ["_execute", "_do_execute"],
        "timeouts call _cancel_current_command": lambda: connection.calls[-1] == "_cancel_current_command",
        "the protocol knows whether a cancellation is confirmed": lambda: connection.is_canceling is True,
        "Connection._config.command_timeout": lambda: connection._config.command_timeout == 60,
    })  # fmt: skip


async def assert_pools_are_unchanged(url: str) -> None:
    async with asyncpg.create_pool(url, min_size=0, max_size=2, connection_class=RecordingConnection) as opened:
        pool: Any = opened
        async with pool.acquire() as acquired:
            connection: Any = getattr(acquired, "_con", None)
            slot: Any = getattr(acquired, "_holder", None)  # codespell:ignore holder - a name of the driver
            assert_unchanged(["asyncpg"], MODULE, {
                "PoolConnectionProxy._con": lambda: isinstance(connection, RecordingConnection),
                "PoolConnectionProxy returns other attributes of its connection": lambda: acquired.calls == [],
                "Pool._queue._queue contains only idle connections": lambda: len(pool._queue._queue) == 1,
                "a proxy has the slot of its connection": lambda: slot._con is connection,
                "release(timeout) of a slot": lambda: parameters(slot.release) == ["timeout"],
                "Connection._on_release": lambda: connection._on_release,
            })  # fmt: skip
        assert_unchanged(["asyncpg"], MODULE, {
            "PoolConnectionProxy._con is None after the release": lambda: acquired._con is None,
            "Pool._queue._queue ends with the last used connection": lambda: pool._queue._queue[-1] is slot,
            "pools and slots have a _generation": lambda: slot._generation == pool._generation,
            "is_connected() of a slot": lambda: slot.is_connected() is True,
            "Pool has the parameters of create_pool": lambda: (
                set(parameters(asyncpg.Pool)) ^ set(parameters(asyncpg.create_pool)) == {"connect_args", "dsn"}
            ),
        })  # fmt: skip


async def test_asyncpg_has_the_internals_that_the_store_uses(database_url: str) -> None:
    await assert_connections_are_unchanged(database_url)
    await assert_pools_are_unchanged(database_url)
