"""Quarantines: their limits, which of them match a case, and what the policy of a project decides."""

from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from datetime import datetime, timedelta
from typing import Final, NamedTuple

from service.domain.globs import ANY_TEXT, SearchedText, has_wildcards, longest_literal
from service.domain.ids import CaseKey
from service.domain.statuses import StateValue
from service.domain.variants import canonical_variant

MAX_ACTIVE: Final = 500  # per project
DEFAULT_DURATION: Final = timedelta(days=14)
MAX_DURATION: Final = timedelta(days=90)

POLICY: Final = "policy"  # the creator of automatic quarantines
MAX_OF_POLICY: Final = 200  # of the active quarantines of a project
MAX_RELEASE_RUNS: Final = 500


class CaseMatcher(NamedTuple):
    """The cases that a quarantine matches: one case, or all cases that match the globs and the variant.

    A glob that is None matches any text. The variant of a case must contain all pairs of `variant`.
    """

    case_key: CaseKey | None = None
    suite: str | None = None
    name: str | None = None
    variant: Mapping[str, str] = {}

    @property
    def names_one_case(self) -> bool:
        """Whether suite and name are stated without wildcards."""
        return None not in (self.suite, self.name) and not has_wildcards(f"{self.suite}{self.name}")


class CaseTexts(NamedTuple):
    """The texts of a case that a quarantine compares.

    `is_of_forks` is true if another fork can have stated the suite and the name. No glob matches such a case.
    """

    case_key: CaseKey
    suite: str
    name: str
    variant: Mapping[str, str]
    is_of_forks: bool = False


class ActiveQuarantine(NamedTuple):
    """A quarantine that has neither ended nor expired."""

    quarantine_id: str
    matcher: CaseMatcher


class ExcusedCase(NamedTuple):
    """A case, and the oldest active quarantine that matches it."""

    case_key: CaseKey
    quarantine_id: str


class ActiveQuarantines:
    """The active quarantines of one project, for matching many cases."""

    def __init__(self, quarantines: Iterable[ActiveQuarantine]) -> None:
        self._of_cases: dict[CaseKey, str] = {}
        self._with_globs: list[_GlobMatcher] = []
        self._exact: dict[tuple[str | None, str | None, str], str] = {}
        for quarantine_id, matcher in sorted(quarantines, key=lambda quarantine: quarantine.quarantine_id):
            if matcher.case_key is None:
                self._with_globs.append(_GlobMatcher.of(quarantine_id, matcher))
                if matcher.names_one_case:
                    self._exact.setdefault(_texts_of(matcher), quarantine_id)
            else:
                self._of_cases.setdefault(matcher.case_key, quarantine_id)

    @property
    def is_empty(self) -> bool:
        """Whether no case can match."""
        return not (self._of_cases or self._with_globs)

    def find_exact(self, case: CaseTexts) -> str | None:
        """Return the oldest quarantine that names the case exactly: by its ID, or by suite, name, and the same variant.

        The suite and the name count only if the case isn't of forks.
        """
        by_texts = None if case.is_of_forks else self._exact.get(_texts_of(case))
        return min(filter(None, (self._of_cases.get(case.case_key), by_texts)), default=None)

    def match(self, cases: Iterable[CaseTexts]) -> Iterator[ExcusedCase | None]:
        """Yield each case that a quarantine matches, and None after each further step.

        A step takes less than a millisecond, but the number of steps can be 500 per case, so the caller must pause.
        """
        for case in cases:
            yield from self._match_case(case)

    def _match_case(self, case: CaseTexts) -> Iterator[ExcusedCase | None]:
        found = self._of_cases.get(case.case_key)
        suite, name = SearchedText(case.suite), SearchedText(case.name)
        for matcher in self._candidates(case):
            if found is not None and found < matcher.quarantine_id:
                break
            if matcher.matches(suite, name, case.variant):
                found = matcher.quarantine_id
                break
            yield None
        yield None if found is None else ExcusedCase(case.case_key, found)

    def _candidates(self, case: CaseTexts) -> list["_GlobMatcher"]:
        """Return the quarantines whose globs can match. Comparing only their literals excludes most of them quickly."""
        if case.is_of_forks:
            return []
        _, suite, name, *_ = case
        return [
            matcher for matcher in self._with_globs if matcher.name_literal in name and matcher.suite_literal in suite
        ]


def _texts_of(named: CaseMatcher | CaseTexts) -> tuple[str | None, str | None, str]:
    return named.suite, named.name, canonical_variant(named.variant)


class _GlobMatcher(NamedTuple):
    """A quarantine with globs. A text that doesn't contain the literal of a glob can't match the glob."""

    quarantine_id: str
    suite: str
    suite_literal: str
    name: str
    name_literal: str
    variant: Mapping[str, str]

    @classmethod
    def of(cls, quarantine_id: str, matcher: CaseMatcher) -> "_GlobMatcher":
        suite, name = (ANY_TEXT if glob is None else glob for glob in (matcher.suite, matcher.name))
        return cls(quarantine_id, suite, longest_literal(suite), name, longest_literal(name), matcher.variant)

    def matches(self, suite: SearchedText, name: SearchedText, variant: Mapping[str, str]) -> bool:
        return self.variant.items() <= variant.items() and name.matches(self.name) and suite.matches(self.suite)


class PolicyQuarantine(NamedTuple):
    """An active quarantine of the policy. `not_flaky_since` is the newest run when its case was no longer flaky."""

    quarantine_id: str
    case_key: CaseKey
    expires_at: datetime
    not_flaky_since: str | None = None
    is_ended: bool = False


class PolicyDecision(NamedTuple):
    """The quarantines to change, the cases to quarantine, and the number of cases that wait because of the limit."""

    changed: list[PolicyQuarantine]
    created: list[CaseKey]
    active: int
    waiting: int


class QuarantinePolicy(NamedTuple):
    """The policy of a project by which flaky cases are quarantined: see `AutoQuarantine`."""

    max_share: float
    days: int
    release_after_runs: int

    @classmethod
    def parse(cls, text: str) -> "QuarantinePolicy":
        """Return the policy that a text states, like `max_share=0.05,days=14,release_after_runs=50`.

        Raises ValueError.
        """
        fields = dict(pair.partition("=")[::2] for pair in text.split(","))
        if fields.keys() != set(cls._fields):
            raise ValueError("must have max_share, days, and release_after_runs")
        policy = cls(float(fields["max_share"]), int(fields["days"]), int(fields["release_after_runs"]))
        if not 0 < policy.max_share <= 1:
            raise ValueError("max_share: must be greater than 0 and at most 1")
        if not 1 <= policy.days <= MAX_DURATION.days:
            raise ValueError(f"days: must be from 1 to {MAX_DURATION.days}")
        if not 1 <= policy.release_after_runs <= MAX_RELEASE_RUNS:
            raise ValueError(f"release_after_runs: must be from 1 to {MAX_RELEASE_RUNS}")
        return policy

    @property
    def duration(self) -> timedelta:
        """The time until a quarantine expires without renewal."""
        return timedelta(days=self.days)

    def find_limit(self, executed: int) -> int:
        """Return the maximum number of active quarantines if a complete run executes so many cases."""
        return min(int(self.max_share * executed + 1e-9), MAX_OF_POLICY)

    def decide(
        self,
        states: Mapping[CaseKey, StateValue],
        active: Iterable[PolicyQuarantine],
        excluded: Collection[CaseKey],
        runs: Sequence[str],
        limit: int,
        now: datetime,
    ) -> PolicyDecision:
        """Return what to change after a run.

        `states` are the shown states of unhealthy cases, `excluded` the cases with another quarantine, `runs` the keys
        of the newest runs, newest first, and `limit` the maximum number of active quarantines. Above it, only the
        oldest ones are renewed. Cases that are found together are quarantined in the order of their keys.
        """
        before = sorted(active)
        judged = [self._judge(quarantine, states.get(quarantine.case_key), runs) for quarantine in before]
        kept = [quarantine for quarantine in judged if not quarantine.is_ended]
        flaky = [quarantine for quarantine in kept if quarantine.case_key in states]
        renewable = flaky[: max(limit - (len(kept) - len(flaky)), 0)]
        renewed = {
            quarantine: quarantine._replace(expires_at=now + self.duration)
            for quarantine in renewable
            if quarantine.expires_at < now + self.duration / 2
        }
        changed = [
            renewed.get(new, new) for new, old in zip(judged, before, strict=True) if new in renewed or new != old
        ]
        known = {quarantine.case_key for quarantine in before}.union(excluded)
        waiting = sorted(case for case, state in states.items() if state == "flaky" and case not in known)
        created = waiting[: max(limit - len(kept), 0)]
        return PolicyDecision(changed, created, len(kept) + len(created), len(waiting) - len(created))

    def _judge(self, quarantine: PolicyQuarantine, state: StateValue | None, runs: Sequence[str]) -> PolicyQuarantine:
        """Return the quarantine with what the state of its case changes. A healthy case has none."""
        if state == "flaky":
            return quarantine._replace(not_flaky_since=None)
        since = quarantine.not_flaky_since or (runs[0] if runs else None)
        later = sum(1 for run in runs if since is not None and run > since)
        is_ended = state == "broken" or later >= self.release_after_runs
        return quarantine._replace(not_flaky_since=since, is_ended=is_ended)
