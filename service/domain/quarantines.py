"""Quarantines: their limits, and which of them match a case."""

import re
from collections.abc import Iterable, Mapping
from datetime import timedelta
from functools import lru_cache
from typing import Final, NamedTuple

from service.domain.ids import CaseKey

MAX_ACTIVE: Final = 500  # per project
DEFAULT_DURATION: Final = timedelta(days=14)
MAX_DURATION: Final = timedelta(days=90)
MAX_GLOB_CHARACTERS: Final = 500
MAX_GLOB_ASTERISKS: Final = 5

_CACHED_GLOBS: Final = 2_000


class CaseMatcher(NamedTuple):
    """The cases that a quarantine matches: one case, or all cases that match the globs and the variant.

    A glob that is None matches any text. The variant of a case must contain all pairs of `variant`.
    """

    case_key: CaseKey | None = None
    suite: str | None = None
    name: str | None = None
    variant: Mapping[str, str] = {}


class ActiveQuarantine(NamedTuple):
    """A quarantine that has neither ended nor expired."""

    quarantine_id: str
    matcher: CaseMatcher


class ActiveQuarantines:
    """The active quarantines of one project, for matching many cases."""

    def __init__(self, quarantines: Iterable[ActiveQuarantine]) -> None:
        self._of_cases: dict[CaseKey, ActiveQuarantine] = {}
        self._with_globs: list[ActiveQuarantine] = []
        for quarantine in sorted(quarantines, key=lambda quarantine: quarantine.quarantine_id):
            if quarantine.matcher.case_key is None:
                self._with_globs.append(quarantine)
            else:
                self._of_cases.setdefault(quarantine.matcher.case_key, quarantine)
        self._of_suites: dict[str, list[ActiveQuarantine]] = {}

    @property
    def is_empty(self) -> bool:
        """Whether no case can match."""
        return not (self._of_cases or self._with_globs)

    def match(self, case_key: CaseKey, suite: str, name: str, variant: Mapping[str, str]) -> ActiveQuarantine | None:
        """Return the oldest quarantine that matches the case, or None."""
        of_case = self._of_cases.get(case_key)
        with_globs = next(
            (
                quarantine
                for quarantine in self._find_by_suite(suite)
                if matches(quarantine.matcher.name, name) and quarantine.matcher.variant.items() <= variant.items()
            ),
            None,
        )
        found = [quarantine for quarantine in (of_case, with_globs) if quarantine is not None]
        return min(found, key=lambda quarantine: quarantine.quarantine_id, default=None)

    def _find_by_suite(self, suite: str) -> list[ActiveQuarantine]:
        """Return the quarantines whose glob matches the suite. Many cases have the same suite."""
        found = self._of_suites.get(suite)
        if found is None:
            found = [quarantine for quarantine in self._with_globs if matches(quarantine.matcher.suite, suite)]
            self._of_suites[suite] = found
        return found


def matches(glob: str | None, text: str) -> bool:
    """Return whether the glob matches the complete text: `*` matches any characters, and `?` one character."""
    return glob is None or _compile(glob).fullmatch(text) is not None


def check_glob(glob: str) -> str:
    """Return the glob if it's within the limits. Raises ValueError."""
    if len(glob) > MAX_GLOB_CHARACTERS:
        raise ValueError(f"must have at most {MAX_GLOB_CHARACTERS} characters")
    if glob.count("*") > MAX_GLOB_ASTERISKS:
        raise ValueError(f"must contain at most {MAX_GLOB_ASTERISKS} *")
    return glob


@lru_cache(_CACHED_GLOBS)
def _compile(glob: str) -> re.Pattern[str]:
    """Return the regular expression of a glob.

    Each part between two asterisks matches at its first position. The atomic groups prevent attempts at later
    positions, which can't succeed either and would take hours for a long text.
    """
    first, *others = ["".join("." if character == "?" else re.escape(character) for character in part)
                      for part in glob.split("*")]  # fmt: skip
    middle = "".join(f"(?>.*?{part})" for part in others[:-1])
    return re.compile(first + middle + "".join(f".*{part}" for part in others[-1:]), re.DOTALL)
