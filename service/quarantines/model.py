"""Quarantines: their limits, and which of them match a case."""

from collections.abc import Iterable, Iterator, Mapping
from datetime import timedelta
from typing import Final, NamedTuple

from service.domain.globs import ANY_TEXT, SearchedText, longest_literal
from service.domain.ids import CaseKey

MAX_ACTIVE: Final = 500  # per project
DEFAULT_DURATION: Final = timedelta(days=14)
MAX_DURATION: Final = timedelta(days=90)


class CaseMatcher(NamedTuple):
    """The cases that a quarantine matches: one case, or all cases that match the globs and the variant.

    A glob that is None matches any text. The variant of a case must contain all pairs of `variant`.
    """

    case_key: CaseKey | None = None
    suite: str | None = None
    name: str | None = None
    variant: Mapping[str, str] = {}


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
        for quarantine_id, matcher in sorted(quarantines, key=lambda quarantine: quarantine.quarantine_id):
            if matcher.case_key is None:
                self._with_globs.append(_GlobMatcher.of(quarantine_id, matcher))
            else:
                self._of_cases.setdefault(matcher.case_key, quarantine_id)

    @property
    def is_empty(self) -> bool:
        """Whether no case can match."""
        return not (self._of_cases or self._with_globs)

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
