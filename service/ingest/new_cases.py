"""New cases, which are stored before the results that reference them, and the caches of known ones."""

import asyncio
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime
from itertools import islice
from typing import Final, Literal, Protocol

from service.cases import store as cases_store
from service.cases.model import Case, CaseCache, CasesVersion, KnownCases
from service.cases.store import CaseKeyRef, StoredCase
from service.database.database import Connection
from service.database.partitions import KnownMonths
from service.domain.bounded_cache import BoundedCache
from service.domain.codeowners import MAX_OWNERS_OF_ORGANIZATION
from service.domain.ids import CaseKey, OrgId
from service.failures.fingerprints import Fingerprinter
from service.failures.minutes import KnownMinutes
from service.identity.producers.model import Registrations
from service.ingest.parse_events import EPOCH, ParsedEvent
from service.ingest.parse_results import KEY_COLLISION, UnseenCases
from service.organizations import store as organizations_store
from service.results.model import CaseOutcomes, can_have_failed


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
        for found_slug, org_id in (await organizations_store.find_by_slugs(connection, {slug})).items():
            self.organizations.add(found_slug, org_id)
            self.versions |= (await cases_store.find_server_state(connection, {org_id})).versions


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
        state = await cases_store.find_server_state(connection, known, users)
        if (state.incarnation, state.files) != (self._incarnation, self.current.files):
            self._incarnation, self.current = state.incarnation, IngestCache(files=state.files)
        self.current = replace(self.current, now=state.now, versions=dict(state.versions), producers=state.producers)
        return self.current


# Who has stated the texts of cases: a trusted run, a promoted run of a fork, or an untrusted run.
CaseOrigin = Literal["trusted", "promoted", "untrusted"]

_MAX_REASON: Final = 2_000
_CHUNK: Final = 500  # cases that are processed without an interruption of the event loop


class ResultsWithCases(Protocol):
    """Parsed results of one event, with the cases that might not be stored yet."""

    @property
    def org_id(self) -> OrgId: ...
    @property
    def event(self) -> ParsedEvent: ...
    @property
    def outcomes(self) -> CaseOutcomes: ...
    @property
    def unseen(self) -> UnseenCases: ...


async def insert_unseen_cases(
    connection: Connection, cache: IngestCache, items: Sequence[ResultsWithCases], origin: CaseOrigin = "trusted"
) -> None:
    """Insert and commit the unseen cases, and reject the results whose case collides with a different stored case.

    The cases of untrusted runs are hidden, and change no stored case. The cases of promoted runs replace hidden ones
    and the cases of other promoted runs. Cases that no trusted run contains are never known, so that the first trusted
    run that contains one replaces its texts.

    Call this outside of a transaction: other batches can use a case only after its commit.
    """
    outdated = _find_outdated(items)
    stored: dict[CaseKeyRef, StoredCase] = {}
    excess: set[tuple[OrgId, str]] = set()  # owners
    for branch in dict.fromkeys(item.event.branch for item in items if item.unseen):
        of_branch = (item for item in items if item.event.branch == branch)
        unseen = {(item.org_id, key): case for item in of_branch for key, (_, case) in item.unseen.items()}
        refs = iter(sorted(unseen))
        while chunk := list(islice(refs, _CHUNK)):
            cases = {ref: unseen[ref] for ref in chunk}
            if origin == "trusted":
                stored |= await _store(connection, cases, branch, outdated, excess)
            else:
                stored |= await _store_of_fork(connection, cases, hidden=origin == "untrusted")
    for item in items:
        known = cache.known_cases(item.org_id)
        for number, (key, (index, case)) in enumerate(item.unseen.items(), 1):
            if number % _CHUNK == 0:
                await asyncio.sleep(0)
            found, is_trusted = stored[item.org_id, key]
            if is_trusted and case.has_texts_of(found):
                known.add(case, key)
            elif not case.is_same(found) and (outcome := item.outcomes.pop(key, None)):
                item.event.reject(index, case.name, KEY_COLLISION, failing=can_have_failed(outcome))
        if excess and (names := sorted({name for _, case in item.unseen.values() for name in case.owners or ()})):
            _add_excess(item.event, [name for name in names if (item.org_id, name) in excess])


def _add_excess(event: ParsedEvent, names: Sequence[str]) -> None:
    if names:
        reason = (
            f"owners: an organization has at most {MAX_OWNERS_OF_ORGANIZATION} owners; not stored: {', '.join(names)}"
        )
        event.problems.append({"index": None, "name": None, "reason": reason[:_MAX_REASON]})


def _find_outdated(items: Sequence[ResultsWithCases]) -> set[CaseKeyRef]:
    """Return the unseen cases of which a later event has the stored texts: it's the newest one."""
    outdated: set[CaseKeyRef] = set()
    earlier: dict[OrgId, set[CaseKey]] = {}
    for item in items:
        of_organization = earlier.setdefault(item.org_id, set())
        outdated |= {(item.org_id, key) for key in of_organization & item.outcomes.keys()}
        outdated -= {(item.org_id, key) for key in item.unseen}
        of_organization |= item.unseen.keys()
    return outdated


async def _store(
    connection: Connection,
    unseen: Mapping[CaseKeyRef, Case],
    branch: str | None,
    outdated: Collection[CaseKeyRef],
    excess: set[tuple[OrgId, str]],
) -> dict[CaseKeyRef, StoredCase]:
    """Insert the cases that aren't stored yet, change those with new texts, and return the stored case of each key.

    Owners that can't be stored are added to `excess`.
    """
    stored = await cases_store.find_stored(connection, unseen)
    permitted = await _with_texts_of_default_branch(connection, unseen, branch, stored)
    new = {
        ref: case
        for ref, case in permitted.items()
        if _is_absent(stored.get(ref)) or (ref not in outdated and not case.has_texts_of(stored[ref].case))
    }
    return stored | (await cases_store.insert_unseen(connection, new, excess) if new else {})


async def _with_texts_of_default_branch(
    connection: Connection,
    unseen: Mapping[CaseKeyRef, Case],
    branch: str | None,
    stored: Mapping[CaseKeyRef, StoredCase],
) -> dict[CaseKeyRef, Case]:
    """Return the cases, with their stored files and owners if runs of the default branch decide these.

    Otherwise, each run of a branch that moves files, or with a wrong prefix of paths, would change the files that the
    results of all other branches show, and their owners. A run without a branch can be one of the default branch.
    """
    moved: dict[tuple[OrgId, str], list[CaseKey]] = {}
    for ref, case in unseen.items() if branch else ():
        known = stored.get(ref)
        if known and known.trusted:
            is_moved = case.file and known.case.file not in (None, case.file)
            if is_moved or case.owners not in (None, known.case.owners):
                moved.setdefault((ref[0], case.project_id), []).append(ref[1])
    permitted = dict(unseen)
    for (org_id, project_id), keys in moved.items():
        for key in await cases_store.find_of_default_branch(connection, org_id, project_id, branch or "", keys):
            ref = org_id, key
            permitted[ref] = unseen[ref]._replace(file=stored[ref].case.file or unseen[ref].file, owners=None)
    return permitted


async def _store_of_fork(
    connection: Connection, unseen: Mapping[CaseKeyRef, Case], *, hidden: bool
) -> dict[CaseKeyRef, StoredCase]:
    """Insert the cases of an untrusted or promoted run that no trusted run contains.

    Return the stored case of each key.
    """
    stored = await cases_store.find_stored(connection, unseen)
    new = {ref: case for ref, case in unseen.items() if _is_absent(stored.get(ref))}
    insert = cases_store.insert_hidden if hidden else cases_store.insert_promoted
    return stored | (await insert(connection, new) if new else {})


def _is_absent(stored: StoredCase | None) -> bool:
    """Return whether no trusted run contains the case."""
    return stored is None or not stored.trusted
