"""DNS lookups of third-party servers, which can't block other lookups of the process."""

import asyncio
import socket
from collections.abc import Sequence
from typing import Final

from aiohttp.abc import AbstractResolver, ResolveResult
from aiohttp.resolver import AsyncResolver
from cachetools import TTLCache

_TIMEOUT_S: Final = 5.0
_FIRST_TRY_S: Final = 2.0  # then the next name server gets the query
_CACHED_FAILURES: Final = 10_000
_FAILURE_CACHE_S: Final = 3.0  # shorter than the first retry delay, so that a retry queries the name servers again


class EndpointResolver(AbstractResolver):
    """A resolver without threads that limits the duration of a lookup and caches failures.

    The resolver of the operating system occupies a thread until it has a result, and uvloop allows two such threads:
    two names whose servers don't respond would block all webhooks and the reconnects to the database and the broker.
    """

    def __init__(self, name_servers: Sequence[str] | None = None) -> None:
        """Use the name servers of the system unless others are given as `address:port`."""
        self._resolver = AsyncResolver(
            nameservers=name_servers,
            timeout=_FIRST_TRY_S,
            tries=2,
        )
        self._failures: TTLCache[tuple[str, int], str] = TTLCache(_CACHED_FAILURES, _FAILURE_CACHE_S)

    async def resolve(
        self, host: str, port: int = 0, family: socket.AddressFamily = socket.AF_INET
    ) -> list[ResolveResult]:
        """Return the addresses of a host. Raises OSError, also for a lookup that failed a short time ago."""
        key = host.lower(), int(family)
        failure = self._failures.get(key)
        if failure is None:
            try:
                async with asyncio.timeout(_TIMEOUT_S):
                    return await self._resolver.resolve(host, port, family)
            except TimeoutError:
                failure = f"no response of the name servers within {_TIMEOUT_S:g} s"
            except OSError as error:
                failure = str(error.strerror or error)
            self._failures[key] = failure
        raise OSError(None, failure)

    async def close(self) -> None:
        """Cancel the lookups in progress."""
        await self._resolver.close()
