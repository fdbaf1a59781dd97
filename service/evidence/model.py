"""The evidence of a case: what the newest segment of its results says about a failure, and the sentence that states it.

A history contains the results of a case in trusted, complete runs of one branch and environment, newest first, with one
letter per run. A *segment* is a part of the history with one rate of bad results, and the partition into segments is
the most probable one (see `newest_segment`). An *episode* is what one cause explains: a series of final failures, or
one result that passed on a retry. For example, in the history

    newest  p p r p p p f f p p p …  oldest        p passed, r passed on a retry, f failed in all attempts

all results are one segment with 2 episodes: one retry and one series of 2 final failures.
"""

import re
from collections.abc import Mapping, Sequence
from itertools import takewhile
from math import lgamma, log
from typing import Any, Final, Literal, NamedTuple

from service.domain.bounded_cache import BoundedCache
from service.domain.statuses import STATUS_CODES
from service.domain.texts import Quote
from service.results.model import FAILING_CODES

Outcome = Literal["p", "r", "f"]  # passed, passed on a retry, failed in all attempts
NOT_EXECUTED: Final = "-"

FailureChange = Literal["new_failure", "flaky_failure", "known_failure"]

MAX_HISTORY: Final = 1_000  # runs of a history
MIN_EPISODES: Final = 2  # of an unreliable case
_MIN_EPISODE_SHARE: Final = 0.01  # of the results of the segment
_REPAIRED_RESULTS: Final = 2  # passed results after a repair, with which a branch can still lack it
_BROKEN_RESULTS: Final = 2  # final failures in a row that chance hardly explains
_OUTAGE_EXECUTED: Final = 20
_OUTAGE_SHARE: Final = 0.8
_LASTING_OUTAGE: Final = 2  # newest runs that are outages
_MASS_FAILED: Final = 20
_MASS_SHARE: Final = 0.2
_UPDATE: Final = "update the branch"
_SERIES_OF_FAILURES: Final = re.compile("f+")
_BAD_RESULTS: Final = str.maketrans("prf", "001"), str.maketrans("prf", "011")  # only final failures, or all

# The rate of bad results of a segment has the prior distribution Beta(_BAD, _GOOD): most cases almost never fail.
_BAD: Final = 0.05
_GOOD: Final = 0.5
_ROUNDING: Final = 1e-6  # of scores
_BOUNDARY: Final = log(1e-3)  # the prior probability of a boundary between two segments


def _log_rising(start: float) -> tuple[float, ...]:
    """Return log(Γ(start + n) / Γ(start)) of each n."""
    return tuple(lgamma(start + count) - lgamma(start) for count in range(MAX_HISTORY + 1))


_LOG_BAD: Final = _log_rising(_BAD)
_LOG_GOOD: Final = _log_rising(_GOOD)
_LOG_ALL: Final = _log_rising(_BAD + _GOOD)


class EvidenceRun(NamedTuple):
    """A run of a history. A mass failure has another cause than its cases, so it adds no episode to them."""

    run_id: str
    commit_sha: str | None
    is_mass_failure: bool = False


class EvidenceRuns:
    """The runs of the histories of some cases, newest first.

    `of_commit` are the positions of the runs of each commit that several runs have, by each of these positions.
    """

    __slots__ = ("mass_failures", "of_commit", "runs")

    def __init__(self, runs: Sequence[EvidenceRun]) -> None:
        self.runs = runs
        self.mass_failures = [position for position, run in enumerate(runs) if run.is_mass_failure]
        by_commit: dict[str, list[int]] = {}
        for position, run in enumerate(runs):
            if run.commit_sha:
                by_commit.setdefault(run.commit_sha, []).append(position)
        repeated = [positions for positions in by_commit.values() if len(positions) > 1]
        self.of_commit = {position: positions for positions in repeated for position in positions}


class History(NamedTuple):
    """The results of a case, newest first: an outcome for each run, or `-` for a run that didn't execute the case."""

    outcomes: str
    runs: EvidenceRuns

    def run_id(self, position: int) -> str:
        """Return the ID of the run at this position."""
        return self.runs.runs[position].run_id

    def newest(self, results: int) -> "History":
        """Return the newest part with this number of executed results. Its last outcome is the oldest of them."""
        end = results
        while missing := results - end + self.outcomes.count(NOT_EXECUTED, 0, end):
            end += missing
        return self._replace(outcomes=self.outcomes[:end])

    def begin_of(self, newest: "History") -> int | None:
        """Return the position at which a newest part begins, or None if it contains all results."""
        end = len(newest.outcomes)
        return end - 1 if self.outcomes[end:].strip(NOT_EXECUTED) else None


class Evidence(NamedTuple):
    """What the newest segment of a history contains.

    `failure_rate` is the mean of the rate's posterior distribution. `since_run_id` is the first run of the segment if
    the history contains an older segment. `consecutive_failures` are the final failures up to the newest result, of
    which the oldest is in `failing_since_run_id`. `repaired_run_id` is the first run that passed after a series of at
    least 2 final failures, if at most 2 results came after the series. `outages` are the runs that aren't evidence.
    """

    runs: int = 0
    failed: int = 0
    flaky: int = 0
    failure_rate: float | None = None
    since_run_id: str | None = None
    consecutive_failures: int = 0
    failing_since_run_id: str | None = None
    last_passed_run_id: str | None = None
    repaired_run_id: str | None = None
    outages: int = 0


class Segment(NamedTuple):
    """The newest segment of a history. `since` is the position at which it begins, if there is an older segment."""

    history: History
    results: int
    bad: int
    episodes: int
    since: int | None
    margin: float  # the score of the partition minus the score of the second best one

    @property
    def is_unreliable(self) -> bool:
        """Whether the episodes are too many and too frequent for chance."""
        return self.episodes >= max(MIN_EPISODES, _MIN_EPISODE_SHARE * self.results)

    @property
    def failure_rate(self) -> float | None:
        """See `estimate_rate`."""
        return estimate_rate(self.bad, self.results)

    @property
    def unreliable_passes(self) -> int:
        """The number of further passed results with which an unreliable segment stays unreliable."""
        return int(self.episodes / _MIN_EPISODE_SHARE) - self.results

    @property
    def stable_passes(self) -> int:
        """The number of further passed results that certainly leave the boundary of this segment in its place.

        Each one lowers the score of the partition by at most `loss`, and raises the score of no other one.
        """
        loss = log((_BAD + _GOOD + self.results) / (_GOOD + self.results - self.bad))
        return int(min(self.margin / loss, MAX_HISTORY)) if self.margin > _ROUNDING else 0


def estimate_rate(bad: int, results: int) -> float | None:
    """Return the mean of the posterior distribution of the rate of bad results; None without results."""
    return (_BAD + bad) / (_BAD + _GOOD + results) if results else None


def find_outcome(status: str, *, flaky: bool) -> Outcome | None:
    """Return the outcome of a result with this status code, or None if it wasn't executed."""
    if status in FAILING_CODES:
        return "f"
    if status != STATUS_CODES["passed"]:
        return None
    return "r" if flaky else "p"


def is_outage(executed: int, failed: int) -> bool:
    """Return whether a run says nothing about its cases, because almost all of them failed."""
    return executed >= _OUTAGE_EXECUTED and failed > _OUTAGE_SHARE * executed


def select_evidence(outages: Sequence[bool]) -> list[int]:
    """Return the indexes of the runs that are evidence, newest first: those that aren't outages.

    If the newest two runs, or all, are outages, the newest outages are evidence too, so that their failures are known.
    """
    lasting = sum(1 for _ in takewhile(bool, outages))
    if lasting < min(_LASTING_OUTAGE, len(outages)):
        lasting = 0
    return [index for index, is_out in enumerate(outages) if index < lasting or not is_out]


def is_mass_failure(executed: int, failed: int) -> bool:
    """Return whether one cause explains the failures of a run better than the cases do."""
    return failed >= _MASS_FAILED and failed >= _MASS_SHARE * executed


class PartitionScores(NamedTuple):
    """The highest score of a partition of the oldest series of equal results, for each number of series.

    `bad` and `results` are the numbers of results in these series.
    """

    bad: tuple[int, ...]
    results: tuple[int, ...]
    highest: tuple[float, ...]


_NO_SERIES: Final = PartitionScores((0,), (0,), (0.0,))
KnownScores = BoundedCache[str, PartitionScores]  # by the results as `newest_segment` divides them


class NewestSegment(NamedTuple):
    """The number of results in the newest segment, and the difference to the score of the second best partition."""

    results: int
    margin: float


def newest_segment(outcomes: str, *, final_only: bool = False, known: KnownScores | None = None) -> NewestSegment:
    """Return the newest segment of the most probable partition.

    With `final_only`, only final failures are bad, and else also retried results. The probability of a partition is the
    product of the beta-binomial marginal likelihoods of its segments and of the prior probability of each boundary.
    Dynamic programming finds the exact maximum. A boundary between two equal results never increases the probability,
    so only the positions where the results change are examined. Among equally probable partitions, the one with the
    longest newest segment is returned. `known` keeps the scores of all series but the newest for the next call.
    """
    results = outcomes.replace(NOT_EXECUTED, "").translate(_BAD_RESULTS[not final_only])
    if not results:
        return NewestSegment(0, 0)
    older = results.lstrip(results[0])
    length, is_bad = len(results) - len(older), results[0] == "1"
    _, oldest, margin = _add_series(_score_partitions(older, known), length, is_bad=is_bad)
    # A further result that differs from the newest one makes a partition possible that has one more boundary.
    return NewestSegment(len(results) - oldest, min(margin, -_BOUNDARY))


def _score_partitions(results: str, known: KnownScores | None) -> PartitionScores:
    """Return the scores of all series of these results. Continue with known scores of the older ones."""
    unknown, older, scores = [], results, None
    while older and (scores := known.get(older) if known is not None else None) is None:
        unknown.append(older)
        older = older.lstrip(older[0])
    scores = scores or _NO_SERIES
    for text in reversed(unknown):
        scores, *_ = _add_series(scores, len(text) - scores.results[-1], is_bad=text[0] == "1")
    if unknown and known is not None:
        known.add(results, scores)
    return scores


def _add_series(scores: PartitionScores, length: int, *, is_bad: bool) -> tuple[PartitionScores, int, float]:
    """Return the scores with one newer series, the number of results before the newest segment, and the margin."""
    bad, results = scores.bad[-1] + length * is_bad, scores.results[-1] + length
    highest, second, oldest = float("-inf"), float("-inf"), 0
    for older_bad, older, score in zip(*scores, strict=True):
        segment_bad, segment = bad - older_bad, results - older
        score += _LOG_BAD[segment_bad] + _LOG_GOOD[segment - segment_bad] - _LOG_ALL[segment]
        if older:
            score += _BOUNDARY
        if score > highest:
            second, highest, oldest = highest, score, older
        elif score > second:
            second = score
    added = PartitionScores((*scores.bad, bad), (*scores.results, results), (*scores.highest, highest))
    return added, oldest, highest - second


def find_segment(history: History, *, final_only: bool, known: KnownScores | None = None) -> Segment:
    """Return the newest segment. With `final_only`, only final failures are bad, and else also retried results."""
    results, margin = newest_segment(history.outcomes, final_only=final_only, known=known)
    newest = history.newest(results)
    bad = newest.outcomes.count("f") + (0 if final_only else newest.outcomes.count("r"))
    episodes = count_episodes(newest, final_only=final_only)
    return Segment(newest, results, bad, episodes, history.begin_of(newest), margin)


def count_episodes(history: History, *, final_only: bool) -> int:
    """Return the number of episodes of a history.

    An episode is a series of final failures, a commit that both passed and failed, or, unless `final_only`, one result
    that passed on a retry. Mass failures add none, and don't end a series.
    """
    outcomes, contradicted = _set_aside(history)
    retried = 0 if final_only else outcomes.count("r")
    return contradicted + retried + len(_SERIES_OF_FAILURES.findall(outcomes.replace(NOT_EXECUTED, "")))


def _set_aside(history: History) -> tuple[str, int]:
    """Return the outcomes without mass failures and failures of commits that passed, and the number of such commits."""
    outcomes, runs = history
    end = len(outcomes)
    aside = {position for position in runs.mass_failures if position < end and outcomes[position] in "rf"}
    contradicted = set[int]()
    for position, same_commit in runs.of_commit.items():
        if position >= end or outcomes[position] != "f" or position in aside:
            continue
        if any(other < end and outcomes[other] in "pr" for other in same_commit):
            contradicted.add(same_commit[0])
            aside.add(position)
    if aside:
        outcomes = "".join(outcome for position, outcome in enumerate(outcomes) if position not in aside)
    return outcomes, len(contradicted)


def consecutive_failures(outcomes: str) -> int:
    """Return the number of final failures up to the newest result."""
    executed = outcomes.replace(NOT_EXECUTED, "")
    return len(executed) - len(executed.lstrip("f"))


def find_repair(history: History) -> str | None:
    """Return the first run that passed after a break, if so few results came after it that a branch can lack it."""
    executed = [position for position, outcome in enumerate(history.outcomes) if outcome != NOT_EXECUTED]
    outcomes = "".join(history.outcomes[position] for position in executed)
    after = outcomes.find("f")
    if 0 < after <= _REPAIRED_RESULTS and consecutive_failures(outcomes[after:]) >= _BROKEN_RESULTS:
        return history.run_id(executed[after - 1])
    return None


def find_last_passed(outcomes: str) -> int | None:
    """Return the position of the newest result that isn't a final failure, or None."""
    return next((position for position, outcome in enumerate(outcomes) if outcome in "pr"), None)


def find_first_failure(outcomes: str) -> int | None:
    """Return the position of the oldest of the final failures up to the newest result, or None if there are none."""
    failures = outcomes[: find_last_passed(outcomes)]
    return failures.rindex("f") if "f" in failures else None


def judge_failure(history: History, *, was_retried: bool) -> tuple[FailureChange, Evidence]:
    """Return the change of a failing result, by the history of its case on the base branch, and the evidence.

    A failure of all of several attempts (`was_retried`) is compared with final failures, and another failure with all
    bad results.
    """
    segment = find_segment(history, final_only=was_retried)
    failures, repair = consecutive_failures(history.outcomes), find_repair(history)

    def run_id(position: int | None) -> str | None:
        return None if position is None else history.run_id(position)

    evidence = Evidence(
        runs=segment.results,
        failed=segment.history.outcomes.count("f"),
        flaky=segment.history.outcomes.count("r"),
        failure_rate=segment.failure_rate,
        since_run_id=run_id(segment.since),
        consecutive_failures=failures,
        failing_since_run_id=run_id(find_first_failure(history.outcomes)),
        last_passed_run_id=run_id(find_last_passed(history.outcomes)),
        repaired_run_id=repair,
    )
    if failures or repair:
        return "known_failure", evidence
    return "flaky_failure" if segment.is_unreliable else "new_failure", evidence


def describe_evidence(evidence: Mapping[str, Any], branch: str | None, quote: Quote = str) -> str:
    """Return the sentence about the newest segment of a case, whose results are on this branch.

    An earlier version of the service states fewer fields.
    """
    on_branch = f" on {quote(branch)}" if branch else ""
    runs, failed, flaky, since = (evidence.get(name) for name in ("runs", "failed", "flaky", "since_run_id"))
    if not runs:
        return f"not executed in the compared runs{on_branch}"
    if not (failed or flaky):
        repaired = f" since it was repaired in run {quote(since)}" if since else ""
        update = f"; {_UPDATE}" if evidence.get("repaired_run_id") else ""
        return f"passed in {_of_runs(runs, runs)}{on_branch}{repaired}{update}"
    kinds = [f"failed in {_of_runs(failed, runs) if not flaky else failed}"] if failed else []
    kinds += [f"was flaky in {_of_runs(flaky, runs)}"] if flaky else []
    in_segment = f"{' and '.join(kinds)}{on_branch}" + (f" since run {quote(since)}" if since else "")
    return in_segment + _describe_newest(evidence, quote)


def _describe_newest(evidence: Mapping[str, Any], quote: Quote) -> str:
    """Return why the failure is known, if it is. The sentence already names the first run of the segment."""
    if repaired := evidence.get("repaired_run_id"):
        return f", repaired in run {quote(repaired)}; {_UPDATE}"
    failing_since = evidence["failing_since_run_id"]
    named = "" if not failing_since or failing_since == evidence.get("since_run_id") else quote(failing_since)
    if evidence.get("consecutive_failures") == 1:
        return "; known from one result only" + (f", in run {named}" if named else "")
    return f", failing since run {named}" if named else ""


def _of_runs(count: int, runs: int) -> str:
    if count == runs:
        return "its only run" if runs == 1 else f"all {runs} runs"
    return f"{count} of {runs} runs"
