"""The internals of asyncpg that this package uses. Another version can change them without notice.

Review this module before the version bound in pyproject.toml is raised. tests/database/test_asyncpg_internals.py
names what has changed.
"""

import asyncio
from collections.abc import Awaitable, Callable
from contextlib import AbstractAsyncContextManager, suppress
from typing import Any, Final

import asyncpg

from service.keepalive import detect_half_open, observe_progress
from service.progress import report_progress

# The commands of a transaction, which the driver passes to `Connection.execute`.
BEGIN: Final = "BEGIN"  # the start of the command
READ_ONLY: Final = "READ ONLY"  # a part of BEGIN
COMMIT: Final = "COMMIT;"

_CANCEL_TIMEOUT_S: Final = 5.0
_END_TIMEOUT_S: Final = 5.0
_MAX_COPY_S: Final = 86_400.0  # of the driver, instead of the timeout of commands, which progress extends
_MAX_QUERIES: Final = 50_000  # per connection, the default of the driver
_MAX_IDLE_S: Final = 300.0  # the default of the driver


class DriverConnection(asyncpg.Connection):
    """A connection that ends implicit transactions, and that doesn't wait long for a lost server."""

    __slots__ = ("_has_failed",)

    def __init__(self, protocol: Any, transport: asyncio.Transport, *arguments: Any) -> None:
        super().__init__(protocol, transport, *arguments)
        detect_half_open(transport.get_extra_info("socket"))

    async def _do_execute(self, *arguments: Any, **named: Any) -> Any:
        """Record a statement that failed, or whose task was canceled, also between its preparation and its execution.

        The driver prepares a statement without a Sync message, which starts an implicit transaction. The execution
        would end that transaction.
        """
        try:
            result = await super()._do_execute(*arguments, **named)  # type: ignore[misc]  # missing in the stubs
        except BaseException:
            self._has_failed = True
            raise
        report_progress()
        return result

    async def end_implicit_transaction(self) -> None:
        """End the transaction that a failed statement left open. Otherwise, the next statement would be part of it."""
        if getattr(self, "_has_failed", False):
            self._has_failed = False
            # The simple query protocol ends with a Sync.
            await self.execute("SELECT 1", timeout=_END_TIMEOUT_S)

    async def copy_to_table(self, *arguments: Any, **named: Any) -> str:
        """Write rows. Raises an error that is an outage if the connection is lost or the server doesn't read them."""
        return await self._copy_in_time(super().copy_to_table(*arguments, **{"timeout": _MAX_COPY_S, **named}))

    async def copy_records_to_table(self, *arguments: Any, **named: Any) -> str:
        """Write rows. Raises an error that is an outage if the connection is lost or the server doesn't read them."""
        return await self._copy_in_time(super().copy_records_to_table(*arguments, **{"timeout": _MAX_COPY_S, **named}))

    async def _copy_in_time(self, copying: Awaitable[str]) -> str:
        """End a COPY when no rows were transferred during the timeout of commands, or when the connection is lost.

        The driver waits until the socket accepts more rows, even if the connection is lost and it never does.
        """
        limit_s = self._config.command_timeout or _MAX_COPY_S  # type: ignore[attr-defined]  # missing in the stubs
        connected = self._transport.get_extra_info("socket")  # type: ignore[attr-defined]  # as above
        has_progressed = observe_progress(connected, limit_s)
        limit, loop = asyncio.timeout(None), asyncio.get_running_loop()
        timer: asyncio.TimerHandle

        def end(_: object) -> None:
            with suppress(RuntimeError):  # the COPY has ended
                limit.reschedule(0)

        def end_or_extend() -> None:
            nonlocal timer
            if has_progressed():
                timer = loop.call_later(limit_s, end_or_extend)
            else:
                end(None)

        timer = loop.call_later(limit_s, end_or_extend)
        self.add_termination_listener(end)
        try:
            async with limit:
                status = await copying
        except (AttributeError, RuntimeError) as error:  # the driver writes to a connection that is closed
            if not self.is_closed():
                raise
            raise ConnectionResetError("the connection was lost during a COPY") from error
        finally:
            timer.cancel()
            self.remove_termination_listener(end)
        report_progress()
        return status

    def _cancel_current_command(self, *arguments: Any, **named: Any) -> None:
        """Cancel a command after its timeout or the cancellation of its task, or else terminate the connection.

        Each later command, such as the ROLLBACK, waits until the server confirms the cancellation. If the connection
        is half-open, the server never does, and each of these commands would wait for its own timeout.
        """
        super()._cancel_current_command(*arguments, **named)  # type: ignore[misc]  # missing in the stubs
        asyncio.get_running_loop().call_later(_CANCEL_TIMEOUT_S, self._terminate_unconfirmed)

    def _terminate_unconfirmed(self) -> None:
        if not self.is_closed() and self._protocol._is_cancelling():  # type: ignore[attr-defined]  # codespell:ignore cancelling - as above
            self.terminate()


class StatementScopes(asyncpg.Connection):
    """A connection that runs each statement with parameters in the scope that a subclass returns."""

    __slots__ = ()

    def statement_scope(self) -> AbstractAsyncContextManager[None] | None:
        """Return the scope of a statement, or None if it needs none."""
        return None

    async def _execute(self, *arguments: Any, **named: Any) -> Any:
        scope = self.statement_scope()
        if scope is None:
            return await super()._execute(*arguments, **named)  # type: ignore[misc]  # missing in the stubs
        async with scope:
            return await super()._execute(*arguments, **named)  # type: ignore[misc]


class DriverPool(asyncpg.Pool):
    """A pool that releases connections in the tasks of their users, and that can prefer an idle connection."""

    def __init__(self, url: str, **options: Any) -> None:
        super().__init__(
            url,
            max_queries=_MAX_QUERIES,
            max_inactive_connection_lifetime=_MAX_IDLE_S,
            loop=None,
            record_class=asyncpg.Record,
            **options,
        )

    async def release_in_task(self, connection: Any, timeout_s: float) -> None:
        """Release a connection. A cancellation terminates it, and so does a server that doesn't respond.

        The driver itself starts a task for each release, so that a cancellation doesn't reach it.
        """
        if connection._con is not None:
            connection._con._on_release()
            slot = connection._holder  # codespell:ignore holder - a name of the driver
            await slot.release(timeout_s)

    def prefer_idle(self, is_suitable: Callable[[Any], bool]) -> bool:
        """Let the next `acquire` use the last used idle connection that is suitable. Return False if none is."""
        idle = self._queue._queue  # type: ignore[attr-defined]  # the pool uses the last connected one first
        for index in reversed(range(len(idle))):
            if self._is_usable(idle[index]) and is_suitable(idle[index]._con):
                idle.append(idle.pop(index))
                return True
        return False

    def _is_usable(self, idle: Any) -> bool:
        """Return whether an idle connection is open and hasn't expired."""
        return bool(idle.is_connected() and idle._generation == self._generation)  # type: ignore[attr-defined]


def is_detached(connection: object) -> bool:
    """Return whether the pool has detached a lost connection. Each method of its proxy then raises InterfaceError."""
    return getattr(connection, "_con", connection) is None
