"""Connections to the servers of one database: a primary, and standbys that can replace it."""

import time
from functools import partial
from typing import Any, Final

import asyncpg

from service.domain.hosts import split_hosts
from service.retries import with_alternatives
from service.store.postgres import sqlstates

ACQUIRE_TIMEOUT_S: Final = 10.0

_AVOID_S: Final = 30.0
_PREFER_STANDBY: Final = "target_session_attrs=prefer-standby"
_STANDBY: Final = "target_session_attrs=standby"


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
        return str(error.sqlstate).startswith(sqlstates.UNREACHABLE)
    return isinstance(error, OSError | asyncpg.TargetServerAttributeNotMatched)
