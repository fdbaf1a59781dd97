"""The identity of a case, and the cache of cases that are stored already."""

from collections.abc import Callable
from sys import getsizeof
from threading import Lock
from typing import Final, NamedTuple

from service.domain.ids import CaseKey, OrgId, case_key

_CACHE_BYTES: Final = 40 * 2**20  # about 100,000 cases with short names
_ENTRY_BYTES: Final = 300  # of the tuple, the key, and the entry in the dictionary


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


class KnownCases:
    """A cache of the keys of committed cases: the most recently used ones, in two generations of limited memory.

    A hit in the old generation moves the case to the young generation. A full young generation replaces the old one.
    This takes one dictionary lookup per result and needs no linked list. Several threads can use the cache.
    """

    def __init__(self, max_bytes: int = _CACHE_BYTES) -> None:
        self._max_bytes = max_bytes // 2  # per generation
        self._young: dict[OrgId, dict[CaseFields, CaseKey]] = {}
        self._old: dict[OrgId, dict[CaseFields, CaseKey]] = {}
        self._bytes = 0
        self._lock = Lock()

    def of(self, org_id: OrgId) -> Callable[[CaseFields], CaseKey | None]:
        """Return a lookup function for the cases of one organization, valid for one event.

        The function returns the key of a committed case, or None for a case that might not be stored.
        """
        young, old = self._young.get(org_id, {}), self._old.get(org_id, {})

        def find(case: CaseFields) -> CaseKey | None:
            key = young.get(case)
            if key is None:
                key = old.get(case)
                if key is not None:
                    self.add(org_id, Case(*case), key)
            return key

        return find if old else young.get

    def add(self, org_id: OrgId, case: Case, key: CaseKey) -> None:
        """Add a case. Call this only after the case is committed."""
        with self._lock:
            if self._bytes >= self._max_bytes:
                self._old, self._young, self._bytes = self._young, {}, 0
            self._young.setdefault(org_id, {})[case] = key
            self._bytes += _size(case)


def _size(case: Case) -> int:
    """Return the approximate memory of a cached case in bytes."""
    texts = (case.project_id, case.case_id, case.suite, case.name, case.file, case.variant)
    return _ENTRY_BYTES + sum(getsizeof(text) for text in texts if text)
