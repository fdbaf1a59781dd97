"""The caches of ingest: what a process knows about the committed rows of the database."""

from dataclasses import dataclass, field
from datetime import datetime

from service.domain.cases import KnownCases
from service.domain.ids import OrgId
from service.store import cases, partitions
from service.store.failure_groups import KnownMinutes
from service.store.postgres.database import Connection
from service.store.projects import KnownProjects
from service.usecases.ingest.parse_events import EPOCH


@dataclass(slots=True)
class IngestCache:
    """The known cases, organizations, projects, months, and minutes of failure groups of one state of the database."""

    cases: KnownCases = field(default_factory=KnownCases)
    organizations: dict[str, OrgId] = field(default_factory=dict)
    slugs: dict[OrgId, str] = field(default_factory=dict)  # of the organizations
    projects: KnownProjects = field(default_factory=KnownProjects)
    months: partitions.KnownMonths = field(default_factory=partitions.KnownMonths)
    minutes: KnownMinutes = field(default_factory=KnownMinutes)
    now: datetime = EPOCH  # the time of the database when a batch last used this cache


class IngestCaches:
    """The cache of a process. It's replaced after a failover or restore, which can remove committed rows.

    A batch that began earlier keeps its own cache, so it can't add rows of the previous server to the new cache.
    """

    def __init__(self) -> None:
        self._source: tuple[str, str] | None = None  # the incarnation of the server, and the files of its tables
        self.current = IngestCache()

    async def find(self, connection: Connection) -> IngestCache:
        """Return the cache that is valid for this connection. It stays valid until the connection is closed."""
        state = await cases.find_server_state(connection)
        if (state.incarnation, state.files) != self._source:
            self._source, self.current = (state.incarnation, state.files), IngestCache()
        self.current.now = state.now
        return self.current
