"""Connections to the servers of one database: a primary, and standbys that can replace it."""

import math
import time
from contextlib import suppress
from functools import partial
from typing import Any, Final

import asyncpg

from service.database.asyncpg_internals import DriverConnection
from service.domain.addresses import split_hosts
from service.domain.ids import OrgId
from service.retries import with_alternatives

ACQUIRE_TIMEOUT_S: Final = 10.0
CONNECTION_FAILURES: Final = "08"  # a class of SQLSTATE codes
UNREACHABLE: Final = (CONNECTION_FAILURES, "57")  # the server closes the connection, starts, or stops

_AVOID_S: Final = 30.0
_PREFER_STANDBY: Final = "target_session_attrs=prefer-standby"
_STANDBY: Final = "target_session_attrs=standby"

_CLOSE_TIMEOUT_S: Final = 5.0
_PROBE_AFTER_S: Final = 10.0  # without use
_PROBE_TIMEOUT_S: Final = 5.0


class HostSelector:
    """Connects to the first host of a URL that responds and has the `target_session_attrs` of the URL.

    The driver itself waits for an unreachable host until its own timeout, and never reaches the next host. A host that
    failed is tried last for some seconds, so that not every new connection waits for it.
    """

    def __init__(self) -> None:
        self._failed_at: dict[str, float] = {}

    async def connect(self, url: str, **options: Any) -> asyncpg.Connection:
        """Open a connection. Raises the error of the last host if none can be used."""
        urls = split_hosts(url)
        if len(urls) == 1:
            return await asyncpg.connect(url, **options)
        if _PREFER_STANDBY in url:
            urls = [each.replace(_PREFER_STANDBY, _STANDBY) for each in urls] + urls
        # A caller that waits for ACQUIRE_TIMEOUT_S must reach the last host.
        connect = partial(self._connect, timeout=ACQUIRE_TIMEOUT_S / (len(urls) + 1), **options)
        return await with_alternatives(connect, sorted(urls, key=self._is_avoided), _is_unusable)

    async def _connect(self, url: str, **options: Any) -> asyncpg.Connection:
        try:
            return await asyncpg.connect(url, **options)
        except OSError:
            self._failed_at[url] = time.monotonic()
            raise

    def _is_avoided(self, url: str) -> bool:
        return url in self._failed_at and time.monotonic() - self._failed_at[url] < _AVOID_S


async def connect(url: str, **options: Any) -> asyncpg.Connection:
    """Open one connection to a host of the URL."""
    return await HostSelector().connect(url, **options)


async def ping(url: str) -> None:
    """Run a minimal query on a new connection. Raises the error of the connection or the query."""
    connection = await connect(url)
    try:
        await connection.fetchval("SELECT 1")
    finally:
        connection.terminate()


def _is_unusable(error: Exception) -> bool:
    """Return whether another host might accept the connection. A wrong password, for example, is wrong for all."""
    if isinstance(error, asyncpg.PostgresError):
        return str(error.sqlstate).startswith(UNREACHABLE)
    return isinstance(error, OSError | asyncpg.TargetServerAttributeNotMatched)


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
