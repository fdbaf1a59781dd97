"""Connections that see the rows of one organization, and that don't wait long for a lost server."""

import asyncio
import math
import time
from collections.abc import Awaitable
from contextlib import suppress
from typing import Any, Final

import asyncpg

from service.domain.ids import OrgId
from service.keepalive import detect_half_open
from service.progress import report_progress

_CANCEL_TIMEOUT_S: Final = 5.0
_CLOSE_TIMEOUT_S: Final = 5.0
_PROBE_AFTER_S: Final = 10.0  # without use
_PROBE_TIMEOUT_S: Final = 5.0


class ScopedConnection(asyncpg.Connection):
    """A connection that tracks the organization whose rows it can read, and doesn't wait long for a lost server."""

    __slots__ = ("_has_failed", "_organization", "_released_at", "incarnation")

    is_distributed = False
    incarnation: str

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
            await self.execute("SELECT 1", timeout=_PROBE_TIMEOUT_S)

    def record_release(self) -> None:
        """Record that the connection is idle in its pool from now on."""
        self._released_at = time.monotonic()

    async def probe_if_idle(self) -> None:
        """Probe the connection if it wasn't used for some time."""
        if time.monotonic() - getattr(self, "_released_at", math.inf) > _PROBE_AFTER_S:
            await self.probe()

    async def probe(self) -> None:
        """Raise TimeoutError and terminate the connection if the server doesn't respond within a few seconds."""
        try:
            await self.fetchval("SELECT 1", timeout=_PROBE_TIMEOUT_S)
        except BaseException:
            self.terminate()  # also after a cancellation: the pool would close the connection politely
            raise

    async def close(self, *, timeout: float | None = None) -> None:  # noqa: ASYNC109 - of the driver
        """Close the connection. Terminate it if the server doesn't respond within a few seconds."""
        await super().close(timeout=timeout or _CLOSE_TIMEOUT_S)

    async def copy_to_table(self, *arguments: Any, **named: Any) -> str:
        """Write rows. Raises an error that is an outage if the connection is lost or the server doesn't read them."""
        return await self._copy_in_time(super().copy_to_table(*arguments, **named))

    async def copy_records_to_table(self, *arguments: Any, **named: Any) -> str:
        """Write rows. Raises an error that is an outage if the connection is lost or the server doesn't read them."""
        return await self._copy_in_time(super().copy_records_to_table(*arguments, **named))

    async def _copy_in_time(self, copying: Awaitable[str]) -> str:
        """End a COPY at the timeout of commands, or when the connection is lost.

        The driver waits until the socket accepts more rows, even if the connection is lost and it never does.
        """
        limit = asyncio.timeout(self._config.command_timeout)  # type: ignore[attr-defined]  # missing in the stubs

        def end(_: object) -> None:
            with suppress(RuntimeError):  # the COPY has ended
                limit.reschedule(0)

        self.add_termination_listener(end)
        try:
            async with limit:
                status = await copying
        except (AttributeError, RuntimeError) as error:  # the driver writes to a connection that is closed
            if not self.is_closed():
                raise
            raise ConnectionResetError("the connection was lost during a COPY") from error
        finally:
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

    @property
    def organization(self) -> OrgId | None:
        """The organization whose rows the connection can read."""
        return getattr(self, "_organization", None)

    async def act_as(self, org_id: OrgId) -> None:
        """Set the organization for row-level security if it isn't set already."""
        if self.organization != org_id:
            self._organization: OrgId | None = None
            await self.execute("SELECT set_config('app.org_id', $1, false)", str(org_id))
            self._organization = org_id
