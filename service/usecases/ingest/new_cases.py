"""Storage of cases before the results that reference them."""

import asyncio
from collections.abc import Collection, Mapping, Sequence
from itertools import islice
from typing import Final, Literal, Protocol

from service.domain.cases import Case
from service.domain.ids import CaseKey, OrgId
from service.domain.results import can_have_failed
from service.domain.shards import CaseOutcomes
from service.store import cases
from service.store.cases import CaseKeyRef, StoredCase
from service.store.postgres.database import Connection
from service.usecases.ingest.caches import IngestCache
from service.usecases.ingest.parse_events import ParsedEvent
from service.usecases.ingest.parse_results import KEY_COLLISION, UnseenCases

# Who has stated the texts of cases: a trusted run, a promoted run of a fork, or an untrusted run.
CaseOrigin = Literal["trusted", "promoted", "untrusted"]

_PART: Final = 500  # cases that are processed without an interruption of the event loop


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

    The cases of untrusted runs are hidden, and change no stored case. Those of promoted runs replace hidden ones and
    those of other promoted runs. Cases that no trusted run contains are never known, so that the first trusted run that
    contains one replaces its texts.

    Call this outside of a transaction: other batches can use a case only after its commit.
    """
    unseen = {(item.org_id, key): case for item in items for key, (_, case) in item.unseen.items()}
    if not unseen:
        return
    branches = {(item.org_id, key): item.event.branch for item in items for key in item.unseen}
    outdated = _find_outdated(items)
    stored: dict[CaseKeyRef, StoredCase] = {}
    refs = iter(sorted(unseen))
    while part := list(islice(refs, _PART)):
        cases_of_part = {ref: unseen[ref] for ref in part}
        if origin == "trusted":
            stored |= await _store(connection, cases_of_part, branches, outdated)
        else:
            stored |= await _store_of_fork(connection, cases_of_part, hidden=origin == "untrusted")
    for item in items:
        known = cache.known_cases(item.org_id)
        for number, (key, (index, case)) in enumerate(item.unseen.items(), 1):
            if number % _PART == 0:
                await asyncio.sleep(0)
            found, is_trusted = stored[item.org_id, key]
            if is_trusted and case.has_texts_of(found):
                known.add(case, key)
            elif not case.is_same(found) and (outcome := item.outcomes.pop(key, None)):
                item.event.reject(index, case.name, KEY_COLLISION, failing=can_have_failed(outcome))


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
    branches: Mapping[CaseKeyRef, str | None],
    outdated: Collection[CaseKeyRef],
) -> dict[CaseKeyRef, StoredCase]:
    """Insert the cases that aren't stored yet, change those with new texts, and return the stored case of each key."""
    stored = await cases.find_stored(connection, unseen)
    permitted = await _with_files_of_default_branch(connection, unseen, branches, stored)
    new = {
        ref: case
        for ref, case in permitted.items()
        if _is_absent(stored.get(ref)) or (ref not in outdated and not case.has_texts_of(stored[ref].case))
    }
    return stored | (await cases.insert_unseen(connection, new) if new else {})


async def _with_files_of_default_branch(
    connection: Connection,
    unseen: Mapping[CaseKeyRef, Case],
    branches: Mapping[CaseKeyRef, str | None],
    stored: Mapping[CaseKeyRef, StoredCase],
) -> dict[CaseKeyRef, Case]:
    """Return the cases, with their stored files if runs of the default branch decide these.

    Otherwise, each run of a branch that moves files, or with a wrong prefix of paths, would change the files that the
    results of all other branches show. A run without a branch can be one of the default branch.
    """
    moved: dict[tuple[OrgId, str, str], list[CaseKey]] = {}
    for ref, case in unseen.items():
        known, branch = stored.get(ref), branches[ref]
        if known and known.trusted and branch and case.file and known.case.file not in (None, case.file):
            moved.setdefault((ref[0], case.project_id, branch), []).append(ref[1])
    permitted = dict(unseen)
    for (org_id, project_id, branch), keys in moved.items():
        for key in await cases.find_of_default_branch(connection, org_id, project_id, branch, keys):
            ref = org_id, key
            permitted[ref] = unseen[ref]._replace(file=stored[ref].case.file)
    return permitted


async def _store_of_fork(
    connection: Connection, unseen: Mapping[CaseKeyRef, Case], *, hidden: bool
) -> dict[CaseKeyRef, StoredCase]:
    """Insert the cases of an untrusted or promoted run that no trusted run contains.

    Return the stored case of each key.
    """
    stored = await cases.find_stored(connection, unseen)
    new = {ref: case for ref, case in unseen.items() if _is_absent(stored.get(ref))}
    insert = cases.insert_hidden if hidden else cases.insert_promoted
    return stored | (await insert(connection, new) if new else {})


def _is_absent(stored: StoredCase | None) -> bool:
    """Return whether no trusted run contains the case."""
    return stored is None or not stored.trusted
