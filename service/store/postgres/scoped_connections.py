"""Connections that see the rows of one organization, and that don't wait long for a lost server."""

import math
import time
from contextlib import suppress
from typing import Final

import asyncpg

from service.domain.ids import OrgId
from service.store.postgres.asyncpg_internals import DriverConnection

_CLOSE_TIMEOUT_S: Final = 5.0
_PROBE_AFTER_S: Final = 10.0  # without use
_PROBE_TIMEOUT_S: Final = 5.0


class ScopedConnection(DriverConnection):
    """A connection that tracks the organization whose rows it can read, and doesn't wait long for a lost server."""

    __slots__ = ("_organization", "_released_at", "incarnation")

    is_distributed = False
    incarnation: str

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
        """Close the connection. Terminate it if the server doesn't respond within a few seconds.

        The driver terminates the connection before it raises an error. Its pool closes an expired connection in a task
        of its own, so that the event loop would log the error with a traceback.
        """
        with suppress(OSError, asyncpg.PostgresError, asyncpg.InterfaceError, asyncpg.InternalClientError):
            await super().close(timeout=timeout or _CLOSE_TIMEOUT_S)

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
