"""The caches of ingest: what a process knows about the committed rows of the database."""

from collections.abc import Collection
from dataclasses import dataclass, field, replace
from datetime import datetime

from service.domain.bounded_cache import BoundedCache
from service.domain.cases import CaseCache, CasesVersion, KnownCases
from service.domain.fingerprints import Fingerprinter
from service.domain.ids import OrgId
from service.domain.producers import Registrations
from service.store import cases, organizations
from service.store.failure_groups import KnownMinutes
from service.store.partitions import KnownMonths
from service.store.postgres.database import Connection
from service.usecases.ingest.parse_events import EPOCH


@dataclass(slots=True)
class IngestCache:
    """What a batch knows about one state of the database. All batches of this state share the caches."""

    # At most 40 MiB, about 100,000 cases with short names. A new version of the cases of an organization has new keys.
    cases: CaseCache = field(default_factory=lambda: BoundedCache(40 * 2**20))
    # By slug, at most 256 KiB. An organization is evicted if a batch refers to it after its deletion.
    organizations: BoundedCache[str, OrgId] = field(default_factory=lambda: BoundedCache(256 * 2**10))
    # Those with partitions, at most 64 KiB. All are evicted if a partition is missing.
    months: KnownMonths = field(default_factory=lambda: BoundedCache(64 * 2**10))
    # At most 10 MiB, about 40,000 rows. All are evicted after any error of a batch, such as a dropped month.
    minutes: KnownMinutes = field(default_factory=lambda: BoundedCache(10 * 2**20))
    # At most 2 MiB. A fingerprint depends only on its text, so it's always valid.
    fingerprints: Fingerprinter = field(default_factory=lambda: Fingerprinter(2 * 2**20))
    files: str = ""  # of the tables whose rows are cached
    now: datetime = EPOCH  # the time of the database when the batch began
    versions: dict[OrgId, CasesVersion] = field(default_factory=dict)  # of the cases of organizations, since then
    producers: Registrations = field(default_factory=dict)  # of the users of the batch, when it began

    def known_cases(self, org_id: OrgId) -> KnownCases:
        """Return the known cases of an organization."""
        return KnownCases.of(self.cases, org_id, self.versions.get(org_id))

    async def find_organization(self, connection: Connection, slug: str) -> None:
        """Add the organization, if it exists, and the version of its cases, unless the batch already knows both."""
        org_id = self.organizations.get(slug)
        if org_id in self.versions:
            return
        for found_slug, org_id in (await organizations.find_by_slugs(connection, {slug})).items():
            self.organizations.add(found_slug, org_id)
            self.versions |= (await cases.find_server_state(connection, {org_id})).versions


class IngestCaches:
    """The caches of a process. They are replaced after a failover or restore, which can remove committed rows.

    A batch that began earlier keeps its own caches, so it can't add rows of the previous server to the new ones.
    """

    def __init__(self) -> None:
        self._incarnation: str | None = None  # of the server
        self.current = IngestCache()

    async def find(
        self, connection: Connection, org_ids: Collection[OrgId] = (), users: Collection[str] = ()
    ) -> IngestCache:
        """Return the caches that are valid for this connection. They stay valid until the connection is closed.

        They contain the versions of the cases of the known organizations and of `org_ids`, and what `users` are
        registered for.
        """
        known = {*self.current.organizations.values(), *org_ids}
        state = await cases.find_server_state(connection, known, users)
        if (state.incarnation, state.files) != (self._incarnation, self.current.files):
            self._incarnation, self.current = state.incarnation, IngestCache(files=state.files)
        self.current = replace(self.current, now=state.now, versions=dict(state.versions), producers=state.producers)
        return self.current
