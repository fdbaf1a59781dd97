"""Quarantines: their limits, and which of them match a case."""

import re
from collections.abc import Iterable, Iterator, Mapping
from datetime import timedelta
from functools import cached_property
from typing import Final, NamedTuple

from service.domain.ids import CaseKey

MAX_ACTIVE: Final = 500  # per project
DEFAULT_DURATION: Final = timedelta(days=14)
MAX_DURATION: Final = timedelta(days=90)
MAX_GLOB_CHARACTERS: Final = 500
MAX_GLOB_ASTERISKS: Final = 5

_ANY_TEXT: Final = "*"
_WILDCARDS: Final = re.compile(r"[*?]")


class CaseMatcher(NamedTuple):
    """The cases that a quarantine matches: one case, or all cases that match the globs and the variant.

    A glob that is None matches any text. The variant of a case must contain all pairs of `variant`.
    """

    case_key: CaseKey | None = None
    suite: str | None = None
    name: str | None = None
    variant: Mapping[str, str] = {}


class CaseTexts(NamedTuple):
    """The texts of a case that a quarantine compares."""

    case_key: CaseKey
    suite: str
    name: str
    variant: Mapping[str, str]


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
        suite, name = _SearchedText(case.suite), _SearchedText(case.name)
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
        _, suite, name, _ = case
        return [
            matcher for matcher in self._with_globs if matcher.name_literal in name and matcher.suite_literal in suite
        ]


class _SearchedText:
    """A text that is compared with globs."""

    def __init__(self, text: str) -> None:
        self._text = text

    def matches(self, glob: str) -> bool:
        """Return whether the glob matches the complete text: `*` matches any characters, and `?` one character.

        Bit n of `reached` is set if the part of the glob that was read matches the first n characters. All positions
        advance together, so that no glob needs backtracking. Example: for the text "aab", the glob "*ab" reaches
        0b1111 after "*", 0b0110 after "*a", and 0b1000 after "*ab", which is the end of the text.
        """
        reached, end = 1, 1 << len(self._text)
        for character in glob:
            if character == "*":
                reached = (2 * end - 1) & -(reached & -reached)  # all positions from the first one
            elif character == "?":
                reached = (reached & (end - 1)) << 1
            else:
                reached = (reached & self._positions.get(character, 0)) << 1
            if not reached:
                return False
        return reached & end != 0

    @cached_property
    def _positions(self) -> Mapping[str, int]:
        """The positions of each character, as bits."""
        positions = dict.fromkeys(self._text, 0)
        for index, character in enumerate(self._text):
            positions[character] |= 1 << index
        return positions


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
        suite, name = (_ANY_TEXT if glob is None else glob for glob in (matcher.suite, matcher.name))
        return cls(quarantine_id, suite, _longest_literal(suite), name, _longest_literal(name), matcher.variant)

    def matches(self, suite: _SearchedText, name: _SearchedText, variant: Mapping[str, str]) -> bool:
        return self.variant.items() <= variant.items() and name.matches(self.name) and suite.matches(self.suite)


def check_glob(glob: str) -> str:
    """Return the glob if it's within the limits. Raises ValueError."""
    if len(glob) > MAX_GLOB_CHARACTERS:
        raise ValueError(f"must have at most {MAX_GLOB_CHARACTERS} characters")
    if glob.count("*") > MAX_GLOB_ASTERISKS:
        raise ValueError(f"must contain at most {MAX_GLOB_ASTERISKS} *")
    return glob


def _longest_literal(glob: str) -> str:
    """Return the longest part of the glob without wildcards."""
    return max(_WILDCARDS.split(glob), key=len)
