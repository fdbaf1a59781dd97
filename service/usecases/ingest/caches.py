"""The caches of ingest: what a process knows about the committed rows of the database."""

from collections.abc import Collection
from dataclasses import dataclass, field
from datetime import datetime

from service.domain.cases import KnownCases
from service.domain.ids import OrgId
from service.store import cases, organizations, partitions
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
    files: str = ""  # of the tables whose rows are cached


class IngestCaches:
    """The cache of a process. It's replaced after a failover or restore, which can remove committed rows.

    A batch that began earlier keeps its own cache, so it can't add rows of the previous server to the new cache.
    """

    def __init__(self) -> None:
        self._incarnation: str | None = None  # of the server
        self.current = IngestCache()

    async def find(self, connection: Connection, org_ids: Collection[OrgId] = ()) -> IngestCache:
        """Return the cache that is valid for this connection. It stays valid until the connection is closed.

        Its cases are those of the current versions of the known organizations and of `org_ids`.
        """
        known = {*self.current.organizations.values(), *org_ids}
        state = await cases.find_server_state(connection, known)
        if (state.incarnation, state.files) != (self._incarnation, self.current.files):
            self._incarnation, self.current = state.incarnation, IngestCache(files=state.files)
        self.current.now = state.now
        self.current.cases.renew(state.versions)
        return self.current


async def add_organization(connection: Connection, cache: IngestCache, slug: str) -> None:
    """Add the organization to the cache, if it exists, with the version of its cases."""
    found = await organizations.find_by_slugs(connection, {slug})
    cache.organizations |= found
    cache.cases.renew((await cases.find_server_state(connection, found.values())).versions)
