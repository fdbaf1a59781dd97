"""The members of cases in the public object of a result, with a cache.

The cases of an organization have a version, which changes together with any stored case. Each statement that reads
results or cases also reads the version. If the cache contains the members of a case for the version of a page, they are
those of its snapshot: a change of the case between the two snapshots would have changed the version.
"""

from collections.abc import Collection, Mapping, Sequence
from sys import getsizeof
from typing import Final, NamedTuple

from service.domain.ids import CaseKey, OrgId
from service.store.postgres.composition import compose
from service.store.postgres.database import Connection, incarnation_of

_CACHE_BYTES: Final = 40 * 2**20  # about 100,000 cases with short names
_ENTRY_BYTES: Final = 150  # of the key and the entry in the dictionary
_VERSION_BYTES: Final = 700  # of a version and its dictionary


class CaseVersion(NamedTuple):
    """The version of the cases of an organization in one incarnation of the database."""

    incarnation: str
    org_id: OrgId
    version: str


class KnownMembers:
    """A cache of the members of the most recently used cases, in two generations of limited memory (see KnownCases)."""

    def __init__(self, max_bytes: int = _CACHE_BYTES) -> None:
        self._max_bytes = max_bytes // 2  # per generation
        self._young: dict[CaseVersion, dict[CaseKey, str]] = {}
        self._old: dict[CaseVersion, dict[CaseKey, str]] = {}
        self._bytes = 0

    def find(self, version: CaseVersion, keys: Sequence[CaseKey]) -> list[str | None]:
        """Return the members of each case, or None for a case that isn't in the cache."""
        found = list(map(self._young.get(version, {}).get, keys))
        if None in found and (old := self._old.get(version)):
            reused = {key: old[key] for key, members in zip(keys, found, strict=True) if members is None and key in old}
            self.add(version, reused)
            found = [members or reused.get(key) for key, members in zip(keys, found, strict=True)]
        return found

    def add(self, version: CaseVersion, members: Mapping[CaseKey, str]) -> None:
        """Add the members of cases that were read in a snapshot with this version."""
        if not members:
            return
        if self._bytes >= self._max_bytes:
            self._old, self._young, self._bytes = self._young, {}, 0
        if version not in self._young:
            self._young[version] = {}
            self._bytes += _VERSION_BYTES
        self._young[version].update(members)
        self._bytes += sum(map(getsizeof, members.values())) + _ENTRY_BYTES * len(members)


_KNOWN: Final = KnownMembers()


async def find_members(
    connection: Connection, org_id: OrgId, version: str, keys: Sequence[CaseKey]
) -> Sequence[str | None]:
    """Return the members of each case of an organization, or None for a case that isn't stored.

    `version` is that of the cases in the snapshot from which the keys were read. If it has changed, all members are
    those of a later snapshot.
    """
    current = CaseVersion(incarnation_of(connection), org_id, version)
    found = _KNOWN.find(current, keys)
    missing = {key for key, members in zip(keys, found, strict=True) if members is None}
    if not missing:
        return found
    read_version, read = await _read_members(connection, current, missing)
    if read_version == current:
        return [members or read.get(key) for key, members in zip(keys, found, strict=True)]
    _, read = await _read_members(connection, current, set(keys))
    return list(map(read.get, keys))


async def _read_members(
    connection: Connection, expected: CaseVersion, keys: Collection[CaseKey]
) -> tuple[CaseVersion, Mapping[CaseKey, str]]:
    """Read and cache the members of cases, and return them with their version, which can differ from the expected."""
    values = {"org_id": expected.org_id, "case_keys": list(keys)}
    row = await compose("members_of_cases").fetch_row(connection, values)
    version = expected._replace(version=row["case_version"])
    members = dict(zip(row["case_keys"] or (), row["members"] or (), strict=True))
    _KNOWN.add(version, members)
    return version, members
