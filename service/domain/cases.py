"""The identity of a case, and the cache of cases that are stored already."""

from collections.abc import Callable, Mapping
from sys import getsizeof
from threading import Lock
from typing import Final, NamedTuple

from service.domain.ids import CaseKey, OrgId, case_key

_CACHE_BYTES: Final = 40 * 2**20  # about 100,000 cases with short names
_ENTRY_BYTES: Final = 300  # of the tuple, the key, and the entry in the dictionary
_NOT_READ: Final = -1

CasesVersion = int  # the number of transactions that have changed the stored cases of an organization

# The fields of a case as a plain tuple, which is equal to the case and faster to create.
CaseFields = tuple[str, str | None, str, str, int, str | None, str]


class Case(NamedTuple):
    """A case with its identity: `case_id` if it is set, or else suite, name, and occurrence; and the variant.

    `variant` is in its canonical form (see variants.py).
    """

    project_id: str
    case_id: str | None
    suite: str
    name: str
    occurrence: int
    file: str | None
    variant: str = ""

    @property
    def key(self) -> CaseKey:
        """The hash of the identity."""
        return case_key(self.project_id, self.case_id, self.suite, self.name, self.occurrence, self.variant)

    def is_same(self, other: "Case") -> bool:
        """Return whether both cases have the same identity. If not, equal keys are a hash collision."""
        if self.variant != other.variant:
            return False
        if self.case_id is not None or other.case_id is not None:
            return (self.project_id, self.case_id) == (other.project_id, other.case_id)
        return self[:5] == other[:5]

    def has_texts_of(self, stored: "Case") -> bool:
        """Return whether the stored case already has the texts of this one. A missing file changes nothing."""
        return self == (stored if self.file else stored._replace(file=self.file))


class KnownCases:
    """A cache of the keys of committed cases: the most recently used ones, in two generations of limited memory.

    A hit in the old generation moves the case to the young generation. A full young generation replaces the old one.
    This takes one dictionary lookup per result and needs no linked list. Several threads can use the cache.

    The stored texts of a case can change. Therefore, the cases of an organization are known for one version of its
    cases, which changes together with any stored case. Add a case only if it was stored after its version was read.
    """

    def __init__(self, max_bytes: int = _CACHE_BYTES) -> None:
        self._max_bytes = max_bytes // 2  # per generation
        self._young: dict[OrgId, dict[CaseFields, CaseKey]] = {}
        self._old: dict[OrgId, dict[CaseFields, CaseKey]] = {}
        self._sizes: dict[OrgId, int] = {}  # in bytes, of the young generation
        self._bytes = 0  # their sum
        self._versions: dict[OrgId, CasesVersion] = {}
        self._lock = Lock()

    def renew(self, versions: Mapping[OrgId, CasesVersion]) -> None:
        """Evict the cases of each organization that has another version now. Call this with versions just read."""
        with self._lock:
            for org_id, version in versions.items():
                if self.version(org_id) != version:
                    self._versions[org_id] = version
                    self._bytes -= self._sizes.pop(org_id, 0)
                    self._young.pop(org_id, None)
                    self._old.pop(org_id, None)

    def version(self, org_id: OrgId) -> CasesVersion:
        """Return the version for which the cases of an organization are known."""
        return self._versions.get(org_id, _NOT_READ)

    def of(self, org_id: OrgId) -> Callable[[CaseFields], CaseKey | None]:
        """Return a lookup function for the cases of one organization, valid for one event.

        The function returns the key of a committed case, or None for a case that might not be stored.
        """
        young, old, version = self._young.get(org_id, {}), self._old.get(org_id, {}), self.version(org_id)

        def find(case: CaseFields) -> CaseKey | None:
            key = young.get(case)
            if key is None:
                key = old.get(case)
                if key is not None:
                    self.add(org_id, Case(*case), key, version)
            return key

        return find if old else young.get

    def add(self, org_id: OrgId, case: Case, key: CaseKey, version: CasesVersion) -> None:
        """Add a case, unless the version has changed. Call this only after the case is committed."""
        with self._lock:
            if version == _NOT_READ or self.version(org_id) != version:
                return
            if self._bytes >= self._max_bytes:
                self._old, self._young, self._sizes, self._bytes = self._young, {}, {}, 0
            self._young.setdefault(org_id, {})[case] = key
            size = _size(case)
            self._sizes[org_id] = self._sizes.get(org_id, 0) + size
            self._bytes += size


def _size(case: Case) -> int:
    """Return the approximate memory of a cached case in bytes."""
    texts = (case.project_id, case.case_id, case.suite, case.name, case.file, case.variant)
    return _ENTRY_BYTES + sum(getsizeof(text) for text in texts if text)
