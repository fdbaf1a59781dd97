"""Failures of pull requests whose cause is known: a real regression, a flake, or a break of the base branch.

Assumptions: a pull request contains the newest commit of the base branch, except `known_repaired`: its code contains a
break that was repaired one or two results ago. A real regression fails in all attempts. A result that passed on a retry
blocks no pull request, so each failure here is final. Each stratum has the same number of failures, and no stratum
contains a case and position twice.
"""

from collections.abc import Iterator
from random import Random
from typing import Final, Literal, NamedTuple, get_args

from benchmarks.flakiness.histories import EXECUTED, Branch, LabeledCase

Cause = Literal["new", "flaky", "known"]
Stratum = Literal[
    "real",  # the case was healthy in the last 100 runs
    "real_repaired",  # the case was repaired 1 to 60 runs ago
    "real_flake_ended",  # the case was flaky until 30 to 150 runs ago
    "real_retried",  # the case is flaky, but passes on its retry, and fails in all attempts now
    "real_after_outage",  # the case was healthy, and an outage was among the last 20 runs
    "flaky",  # flaky for at least 60 runs
    "flaky_young",  # flaky for 10 to 59 runs
    "known",  # broken on the base branch
    "known_repaired",
]
STRATA: Final[tuple[Stratum, ...]] = get_args(Stratum)
_LABELS: Final[dict[Stratum, Cause]] = {
    stratum: "new" if stratum.startswith("real") else "flaky" if stratum.startswith("flaky") else "known"
    for stratum in STRATA
}
_FIRST_POSITION: Final = 100
_RARE: Final = 0.005  # final failures of a flake per run: a rarer flake hardly ever blocks a pull request
_TRIES: Final = 4_000  # per wanted failure


class Failure(NamedTuple):
    """The final failure of a case in a pull request. `position` is the newest run of the base branch."""

    position: int
    attempts: int


class LabeledFailure(NamedTuple):
    """A failure with its case and its true cause."""

    case: LabeledCase
    failure: Failure
    stratum: Stratum
    label: Cause


def generate_failures(branch: Branch, seed: int, per_stratum: int = 300) -> list[LabeledFailure]:
    """Return up to `per_stratum` failures of each stratum; fewer if a small branch has too few positions of one."""
    return [failure for stratum in STRATA for failure in _generate_stratum(branch, seed, stratum, per_stratum)]


def _generate_stratum(branch: Branch, seed: int, stratum: Stratum, count: int) -> Iterator[LabeledFailure]:
    random = Random(f"{seed}/pulls/{stratum}")
    found: set[tuple[int, int]] = set()
    first = min(_FIRST_POSITION, len(branch.runs) // 2)
    for _ in range(count * _TRIES):
        if len(found) == count:
            return
        place = (random.randrange(len(branch.cases)), random.randrange(first, len(branch.runs)))
        case = branch.cases[place[0]]
        if place not in found and case.truth[place[1]] is not None and _fits(stratum, case, place[1], branch):
            found.add(place)
            failure = Failure(place[1], case.behavior.max_attempts)
            yield LabeledFailure(case, failure, stratum, _LABELS[stratum])


def _fits(stratum: Stratum, case: LabeledCase, position: int, branch: Branch) -> bool:
    behavior, truth = case.behavior, case.truth
    flake, state = behavior.flake, truth[position]
    match stratum:
        case "real":
            return _was_healthy(case, position, 100)
        case "real_repaired":
            since = min((position - span.end for span in behavior.breaks if span.end <= position), default=-1)
            return state == "healthy" and flake is None and 0 <= since < 60
        case "real_flake_ended":
            return state == "healthy" and flake is not None and 30 <= position - flake.end <= 150
        case "real_retried":
            flaky_since = position - flake.begin if flake else 0
            return state == "flaky" and flaky_since >= 60 and behavior.final_failure_rate < _RARE
        case "real_after_outage":
            recent = any(span.begin <= position and span.end > position - 20 for span in branch.outages)
            return recent and _was_healthy(case, position, 100)
        case "flaky" | "flaky_young":
            if flake is None or state != "flaky" or behavior.final_failure_rate < _RARE:
                return False
            flaky_since = position - max(flake.begin, behavior.exists.begin)
            return flaky_since >= 60 if stratum == "flaky" else 10 <= flaky_since < 60
        case "known":
            return state == "broken" and _results(case, _break_begin(case, position), position) >= 1
        case "known_repaired":
            ends = [span.end for span in behavior.breaks if span.end <= position]
            if state == "broken" or flake is not None or not ends or _results(case, *_last_break(case, max(ends))) < 2:
                return False
            return 1 <= _results(case, max(ends), position) <= 2


def _was_healthy(case: LabeledCase, position: int, runs: int) -> bool:
    return all(state in {"healthy", None} for state in case.truth[max(0, position - runs) : position + 1])


def _break_begin(case: LabeledCase, position: int) -> int:
    return max(span.begin for span in case.behavior.breaks if span.begin <= position < span.end)


def _last_break(case: LabeledCase, end: int) -> tuple[int, int]:
    return max(span.begin for span in case.behavior.breaks if span.end == end), end - 1


def _results(case: LabeledCase, begin: int, end: int) -> int:
    """Return the number of executed results in the runs from `begin` to `end`, both included."""
    return sum(1 for outcome in case.history.outcomes[begin : end + 1] if outcome.status in EXECUTED)
