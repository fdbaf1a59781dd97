"""The identity of a case, and the cases that are known to be stored."""

from collections.abc import Mapping, Sequence
from types import MappingProxyType
from typing import Final, Literal, NamedTuple

from service.costs.model import CostRange, CostSums
from service.domain import codeowners
from service.domain.bounded_cache import BoundedCache
from service.domain.filter_types import TextType, TimeType, WordsType
from service.domain.filters import CASE_OWNER, CASE_STATE, VARIANT_TYPE, FilterParameter
from service.domain.ids import CaseKey, OrgId, case_key, case_public_id
from service.domain.statuses import ResultStatus
from service.states.model import ShownState

# The scope of the known cases, and the fields of a case.
KnownCase = tuple[str, str, str | None, str, str, int, str | None, str, tuple[str, ...] | None]
CaseCache = BoundedCache[KnownCase, CaseKey]


MAX_OWNERS: Final = codeowners.MAX_OWNERS  # of a case, and of a failure group


class CasesVersion(NamedTuple):
    """The version of the stored cases of an organization: any change of the version makes known cases unknown.

    `changes` is the number of transactions that have changed cases. `deleted_projects` is the number of projects that
    were deleted with their cases.
    """

    changes: int
    deleted_projects: int


class Case(NamedTuple):
    """A case with its identity: `case_id` if it is set, or else suite, name, and occurrence; and the variant.

    `variant` is in its canonical form (see variants.py). `owners` is None if the upload doesn't state them.
    """

    project_id: str
    case_id: str | None
    suite: str
    name: str
    occurrence: int
    file: str | None
    variant: str = ""
    owners: tuple[str, ...] | None = None

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
        """Return whether the stored case already has the texts of this one. Missing files and owners change nothing."""
        file = stored.file if self.file else self.file
        return self == stored._replace(file=file, owners=None if self.owners is None else stored.owners)


class KnownCases(NamedTuple):
    """The committed cases of one organization that a process knows for one version of its cases."""

    scope: str
    cache: CaseCache

    @classmethod
    def of(cls, cache: CaseCache, org_id: OrgId, version: CasesVersion | None) -> "KnownCases":
        """Return the cases of an organization. Another version has other keys, so that its cases aren't found."""
        return cls(" ".join(map(str, (org_id, *(version or ())))), cache)

    def find(self, case: Case) -> CaseKey | None:
        """Return the key of a committed case, or None for a case that might not be stored."""
        return self.cache.get((self.scope, *case))

    def add(self, case: Case, key: CaseKey) -> None:
        """Add a case. Call this only if it was committed after the version was read."""
        self.cache.add((self.scope, *case), key)


RunRanking = Literal["failures", "flaky", "duration"]  # by the results of the newest runs
Ranking = Literal[RunRanking, "total_duration"]

# Cases that are compared with the filters, in the order of their rank.
MAX_FILTERED_CASES: Final = 2_000

CASE_FILTERS: Final = (
    FilterParameter("branch", TextType(400), "Branch of the runs in which cases are looked up", ()),
    FilterParameter("from", TimeType(), "Earliest completion time of these runs (inclusive)", ()),
    FilterParameter("to", TimeType(), "Latest completion time of these runs (exclusive)", (), at_least="from"),
    FilterParameter("q", WordsType(), "Up to 5 words, each of which the suite or name contains in any case", ()),
    FilterParameter("variant", VARIANT_TYPE, "Pair of the variant; if repeated, all of them", (), repeatable=True),
    CASE_STATE,
    CASE_OWNER,
)


class CaseRow(NamedTuple):
    """A case with statistics over its latest runs. The rates are None if no result was executed."""

    case_key: CaseKey
    project_id: str
    case_id: str | None
    variant: Mapping[str, str]
    suite: str
    name: str
    file: str | None
    last_status: ResultStatus | None
    last_run_id: str | None
    last_completed_ms: int | None
    runs: int
    executed: int
    failed: int
    flaky: int
    failure_rate: float | None
    flaky_rate: float | None
    mean_duration_ms: int | None
    p95_duration_ms: int | None
    trusted: bool = True
    owners: Sequence[str] = ()
    state: ShownState = ShownState()

    @property
    def id(self) -> str:
        """The public ID."""
        return case_public_id(self.case_key)


class OwnerRow(NamedTuple):
    """An owner with the numbers of its cases in a project, and of those that are broken and flaky."""

    owner: str
    cases: int
    broken: int
    flaky: int


class RankedCases(NamedTuple):
    """The first cases of a ranking. `truncated` states that a scan budget ended before the ranking did.

    With the ranking total_duration, `costs` are those of each case in `costs_of`.
    """

    cases: Sequence[CaseRow]
    truncated: bool
    costs: Mapping[CaseKey, CostSums] = MappingProxyType({})
    costs_of: CostRange | None = None
