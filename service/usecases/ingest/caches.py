"""The caches of ingest: what a process knows about the committed rows of the database."""

from dataclasses import dataclass, field

from service.domain.cases import KnownCases
from service.domain.ids import OrgId
from service.store import cases, partitions
from service.store.postgres.database import Connection


@dataclass(slots=True)
class IngestCache:
    """The known cases, organizations, and months of one state of the database."""

    cases: KnownCases = field(default_factory=KnownCases)
    organizations: dict[str, OrgId] = field(default_factory=dict)
    months: partitions.KnownMonths = field(default_factory=partitions.KnownMonths)


class IngestCaches:
    """The cache of a process. It's replaced after a failover or restore, which can remove committed rows.

    A batch that began earlier keeps its own cache, so it can't add rows of the previous server to the new cache.
    """

    def __init__(self) -> None:
        self._incarnation: str | None = None
        self._current = IngestCache()

    async def find(self, connection: Connection) -> IngestCache:
        """Return the cache that is valid for this connection. It stays valid until the connection is closed."""
        incarnation = await cases.find_incarnation(connection)
        if incarnation != self._incarnation:
            self._incarnation, self._current = incarnation, IngestCache()
        return self._current
