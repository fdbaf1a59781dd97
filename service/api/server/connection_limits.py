"""The limit of open connections of a process, which keeps file descriptors free and health checks possible."""

from itertools import chain
from typing import Final, Protocol

from service.log import log
from service.settings import Settings

HEADROOM: Final = 32  # connections over the limit that can only request the paths of probes
PROBE_PATHS: Final = frozenset({"/healthz", "/readyz", "/metrics"})
_OTHER_DESCRIPTORS: Final = 256  # files, pipes, and connections to storage and Redis


class OpenConnection(Protocol):
    """A connection that can be closed while it waits for a request."""

    @property
    def is_idle(self) -> bool: ...

    def force_close(self) -> None: ...


class ConnectionLimit:
    """The open connections, oldest first. Over the limit, a new connection replaces an idle one.

    Connections that have never sent a request are closed first, because a load balancer reuses the others.
    """

    def __init__(self, max_connections: int) -> None:
        self._max = max_connections
        self._silent: dict[OpenConnection, None] = {}  # without a request so far
        self._used: dict[OpenConnection, None] = {}
        self.is_draining = False  # each connection then closes after its response

    @property
    def count(self) -> int:
        """The number of open connections."""
        return len(self._silent) + len(self._used)

    @property
    def is_exceeded(self) -> bool:
        """Whether more connections are open than the limit."""
        return self.count > self._max

    def add(self, connection: OpenConnection) -> bool:
        """Add a connection. Return False if it exceeds the limit and the headroom, so that it must be closed."""
        if self.count >= self._max:
            self._replace_idle()
        self._silent[connection] = None
        return self.count <= self._max + HEADROOM

    def mark_used(self, connection: OpenConnection) -> None:
        """Record that the connection has sent a request."""
        if connection in self._silent:
            del self._silent[connection]
            self._used[connection] = None

    def remove(self, connection: OpenConnection) -> None:
        """Remove a closed connection."""
        self._silent.pop(connection, None)
        self._used.pop(connection, None)

    def close_idle(self) -> None:
        """Close all connections that wait for a request. They count until they are closed."""
        for connection in [*self._silent, *self._used]:
            if connection.is_idle:
                connection.force_close()

    def _replace_idle(self) -> None:
        idle = next((connection for connection in chain(self._silent, self._used) if connection.is_idle), None)
        if idle is not None:
            self.remove(idle)
            idle.force_close()


def max_connections(settings: Settings, descriptors: int) -> int:
    """Return the limit of the settings, or the number of connections for which there are file descriptors."""
    available = max(1, descriptors - HEADROOM - 2 * settings.database_pool_size - _OTHER_DESCRIPTORS)
    if available < settings.http_max_connections:
        log.warning("connection_limit_reduced", limit=available, file_descriptors=descriptors)
    return min(available, settings.http_max_connections)
