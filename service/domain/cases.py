"""What a result is an outcome of, across runs; and the memory of cases that are stored already."""

from typing import Final, NamedTuple

from service.domain.ids import CaseKey, OrgId, case_key

_REMEMBERED: Final = 100_000  # cases, about 40 MB


class Case(NamedTuple):
    """A case with its full identity; `case_id` alone identifies it where there is one."""

    project_id: str
    case_id: str | None
    suite: str
    name: str
    occurrence: int
    file: str | None

    @property
    def key(self) -> CaseKey:
        """The key that follows from the identity."""
        return case_key(self.project_id, self.case_id, self.suite, self.name, self.occurrence)

    def is_same(self, other: "Case") -> bool:
        """Whether both have one identity; two cases with one key and two identities clash."""
        if self.case_id is not None or other.case_id is not None:
            return (self.project_id, self.case_id) == (other.project_id, other.case_id)
        return self[:5] == other[:5]


class KnownCases:
    """Which cases are committed, with their keys: the most recently used ones, in two generations.

    A look-up that misses the young generation and hits the old one moves the case over; when the young
    one is full it becomes the old one. That costs one dictionary look-up per result, no list surgery.
    """

    def __init__(self, limit: int = _REMEMBERED) -> None:
        self._limit = limit // 2
        self._young: dict[tuple[OrgId, Case], CaseKey] = {}
        self._old: dict[tuple[OrgId, Case], CaseKey] = {}

    def get(self, org_id: OrgId, case: Case) -> CaseKey | None:
        """The key of a case that is stored for sure, or None for one that may not be."""
        key = self._young.get((org_id, case))
        if key is None:
            key = self._old.get((org_id, case))
            if key is not None:
                self.add(org_id, case, key)
        return key

    def add(self, org_id: OrgId, case: Case, key: CaseKey) -> None:
        """Remembers a case; call it only once the case is committed."""
        if len(self._young) >= self._limit:
            self._old, self._young = self._young, {}
        self._young[org_id, case] = key
