"""What a result is an outcome of, across runs; and the memory of cases that are stored already."""

from collections.abc import Callable
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
        self._young: dict[OrgId, dict[Case, CaseKey]] = {}
        self._old: dict[OrgId, dict[Case, CaseKey]] = {}
        self._count = 0

    def of(self, org_id: OrgId) -> Callable[[Case], CaseKey | None]:
        """A look-up among the cases of one organization, for one event.

        It gives the key of a case that is stored for sure, or None for one that may not be.
        """
        young, old = self._young.get(org_id, {}), self._old.get(org_id, {})

        def find(case: Case) -> CaseKey | None:
            key = young.get(case)
            if key is None:
                key = old.get(case)
                if key is not None:
                    self.add(org_id, case, key)
            return key

        return find if old else young.get

    def add(self, org_id: OrgId, case: Case, key: CaseKey) -> None:
        """Remembers a case; call it only once the case is committed."""
        if self._count >= self._limit:
            self._old, self._young, self._count = self._young, {}, 0
        self._young.setdefault(org_id, {})[case] = key
        self._count += 1
