"""What a run lacks compared with earlier runs: parts, such as CI jobs, that sent no results, and their cases."""

from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass
from typing import Final, NamedTuple

from service.domain.globs import SearchedText
from service.domain.parts import PartIdentity
from service.domain.quarantines import CaseTexts

MAX_LISTED_CASES: Final = 20
MAX_ALLOWED_PARTS: Final = 50  # globs of a request

_EXPECTED_SHARE: Final = 0.8  # of the runs of the window


@dataclass(frozen=True, slots=True)
class MissingResults:
    """The missing parts of a run, and the number of missing cases of its other parts with the first of them.

    `cases` is None if the run or its baseline is too large to compare.
    """

    parts: Sequence[PartIdentity] = ()
    cases: int | None = 0
    sample: Sequence[CaseTexts] = ()


NOTHING_MISSING: Final = MissingResults()


class ComparedPart(NamedTuple):
    """A part of a run or of its baseline.

    `is_accepted` is true if the part has results in the run, or if an event states that none are expected. `runs` is
    the number of runs of the window that have results of the part. `numbers` are the numbers of the part in the
    baseline. They are empty if the baseline has no results of the part.
    """

    identity: PartIdentity
    runs: int
    is_accepted: bool
    numbers: Sequence[int]


def find_absent(parts: Sequence[ComparedPart], window_runs: int, *, sent_at_once: bool) -> set[PartIdentity]:
    """Return the parts that a run should contain and that aren't accepted.

    A run should contain the parts of the baseline that most runs of the window have. For example, a job that only 3 of
    20 runs have, because it is executed at night, isn't expected. No part is expected in two cases: an earlier version
    stored the run without its parts; or one upload completed the run (`sent_at_once`) and it is of another job than the
    baseline, so each job has its own run.
    """
    of_baseline = [part for part in parts if part.numbers]
    accepted = _names(part for part in parts if part.is_accepted)
    if not accepted or (sent_at_once and accepted.isdisjoint(_names(of_baseline))):
        return set()
    least = _EXPECTED_SHARE * window_runs
    return {part.identity for part in of_baseline if part.runs >= least and not part.is_accepted}


def _names(parts: Iterable[ComparedPart]) -> set[str]:
    return {part.identity[0] for part in parts}


class AllowedParts:
    """The parts that a request allows to be missing, by globs of their names, which can be empty."""

    def __init__(self, globs: Collection[str] = ()) -> None:
        self._globs = globs

    def contain(self, part: PartIdentity) -> bool:
        """Return whether the part can be missing."""
        name = SearchedText(part[0])
        return any(name.matches(glob) for glob in self._globs)
