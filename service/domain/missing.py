"""What a run lacks compared with earlier runs: parts, such as CI jobs, that sent no results, and their cases."""

from collections import Counter
from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass
from typing import Any, Final

import orjson

from service.domain.globs import SearchedText
from service.domain.ids import case_public_id
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

    def to_json(self) -> dict[str, Any]:
        """Return the public fields."""
        return {
            "missing_parts": [part_to_json(part) for part in self.parts],
            "missing_cases": self.cases,
            "missing_cases_sample": [_case_to_json(case) for case in self.sample],
        }


NOTHING_MISSING: Final = MissingResults()


def part_to_json(part: PartIdentity) -> dict[str, Any]:
    """Return a part as a public object. A field that the part doesn't have is null, or an empty variant."""
    name, variant, shard = part
    return {"part": name or None, "variant": orjson.loads(variant) if variant else {}, "shard": shard or None}


def _case_to_json(case: CaseTexts) -> dict[str, Any]:
    return {
        "case": case_public_id(case.case_key), "suite": case.suite, "name": case.name, "variant": dict(case.variant),
    }  # fmt: skip


def find_absent(
    accepted: Collection[PartIdentity], baseline: Collection[PartIdentity], window: Sequence[Collection[PartIdentity]]
) -> set[PartIdentity]:
    """Return the expected parts that a run with these accepted parts doesn't have.

    A run without any job of the baseline is of another kind, so no part is expected: for example, the run of a nightly
    job if each job has its own run, or the first run of a client that states the names of jobs.
    """
    if not _names(accepted) & _names(baseline):
        return set()
    return _find_expected(baseline, window) - set(accepted)


def _find_expected(baseline: Collection[PartIdentity], window: Sequence[Collection[PartIdentity]]) -> set[PartIdentity]:
    """Return the parts that a run should contain: those of the baseline that most runs of the window have.

    Each element contains the parts of a run that have results. For example, a job that only 3 of 20 runs have, because
    it is executed at night, isn't expected.
    """
    counted = Counter(part for parts in window for part in set(parts))
    return {part for part in baseline if counted[part] >= _EXPECTED_SHARE * len(window)}


def _names(parts: Iterable[PartIdentity]) -> set[str]:
    return {name for name, _, _ in parts}


class AllowedParts:
    """The parts that a request allows to be missing, by globs of their names, which can be empty."""

    def __init__(self, globs: Collection[str] = ()) -> None:
        self._globs = globs

    def contain(self, part: PartIdentity) -> bool:
        """Return whether the part can be missing."""
        name = SearchedText(part[0])
        return any(name.matches(glob) for glob in self._globs)
