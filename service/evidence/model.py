"""The evidence of a case: what the newest segment of its results says about a failure, and the sentence that states it.

A history contains the executed results of a case in trusted, complete runs of one branch and environment, newest
first. An outcome divides the results into good and bad ones. A *segment* is a part of the history with one rate of bad
results, and the partition into segments is the most probable one (see `newest_segment`). An *episode* is what one cause
explains: a series of final failures, or one result that passed on a retry. For example, in the history

    newest  p p F p p p f f p p p …  oldest        p passed, F passed on a retry, f failed in all attempts

all results are one segment with 2 episodes: one retry and one series of 2 final failures.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import accumulate, groupby, takewhile
from math import lgamma, log
from typing import Any, Final, Literal, NamedTuple

from service.domain.statuses import STATUS_CODES
from service.domain.texts import Quote
from service.results.model import FAILING_CODES

Outcome = Literal["passed", "retried", "failed"]  # retried: passed on a retry; failed: failed in all attempts

FailureChange = Literal["new_failure", "flaky_failure", "known_failure"]

MAX_HISTORY: Final = 500  # results of a history
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

# The rate of bad results of a segment has the prior distribution Beta(_BAD, _GOOD): most cases almost never fail.
_BAD: Final = 0.05
_GOOD: Final = 0.5
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


class PastResult(NamedTuple):
    """An executed result of a case."""

    run: EvidenceRun
    outcome: Outcome


History = Sequence[PastResult]


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


@dataclass(frozen=True, slots=True)
class Segment:
    """The newest segment of a history. `has_older` tells whether it begins within the history."""

    results: History
    episodes: int
    bad: int
    has_older: bool

    @property
    def is_unreliable(self) -> bool:
        """Whether the episodes are too many and too frequent for chance."""
        return self.episodes >= max(MIN_EPISODES, _MIN_EPISODE_SHARE * len(self.results))

    @property
    def failure_rate(self) -> float | None:
        """The mean of the posterior distribution of the rate of bad results; None without results."""
        return (_BAD + self.bad) / (_BAD + _GOOD + len(self.results)) if self.results else None


def find_outcome(status: str, *, flaky: bool) -> Outcome | None:
    """Return the outcome of a result with this status code, or None if it wasn't executed."""
    if status in FAILING_CODES:
        return "failed"
    if status != STATUS_CODES["passed"]:
        return None
    return "retried" if flaky else "passed"


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


def newest_segment(bad: Sequence[bool]) -> int:
    """Return the number of results in the newest segment of the most probable partition. `bad` is newest first.

    The probability of a partition is the product of the beta-binomial marginal likelihoods of its segments and of the
    prior probability of each boundary. Dynamic programming finds the exact maximum. A boundary between two equal
    outcomes never increases the probability, so only the positions where the outcome changes are examined. Among
    equally probable partitions, the one with the longest newest segment is returned.
    """
    series = [(is_bad, sum(1 for _ in equal)) for is_bad, equal in groupby(bad)]
    bads = list(accumulate((length if is_bad else 0 for is_bad, length in series), initial=0))
    ends = list(accumulate((length for _, length in series), initial=0))
    last = len(series)
    best, newest_end = [0.0] * (last + 1), last
    for start in reversed(range(last)):
        first_bad, first = bads[start], ends[start]
        highest = float("-inf")
        for end in range(last, start, -1):
            segment_bad, length = bads[end] - first_bad, ends[end] - first
            score = _LOG_BAD[segment_bad] + _LOG_GOOD[length - segment_bad] - _LOG_ALL[length] + best[end]
            if end < last:
                score += _BOUNDARY
            if score > highest:
                highest, newest_end = score, end
        best[start] = highest
    return ends[newest_end]


def find_segment(history: History, *, final_only: bool) -> Segment:
    """Return the newest segment. With `final_only`, only final failures are bad, and else also retried results."""
    good = {"passed", "retried"} if final_only else {"passed"}
    bad = [result.outcome not in good for result in history]
    length = newest_segment(bad)
    results = history[:length]
    return Segment(results, count_episodes(results, final_only=final_only), sum(bad[:length]), length < len(history))


def count_episodes(results: History, *, final_only: bool) -> int:
    """Return the number of episodes of some results.

    An episode is a series of final failures, a commit that both passed and failed, or, unless `final_only`, one result
    that passed on a retry. Mass failures add none, and don't end a series.
    """
    passed_commits = {result.run.commit_sha for result in results if result.outcome != "failed"} - {None}
    contradicted, series, retried, in_series = set[str | None](), 0, 0, False
    for run, outcome in results:
        if outcome == "passed":
            in_series = False
        elif run.is_mass_failure:
            continue
        elif outcome == "retried":
            retried, in_series = retried + 1, False
        elif run.commit_sha in passed_commits:
            contradicted.add(run.commit_sha)
        elif not in_series:
            series, in_series = series + 1, True
    return len(contradicted) + series + (0 if final_only else retried)


def consecutive_failures(history: History) -> int:
    """Return the number of final failures up to the newest result."""
    return sum(1 for _ in takewhile(lambda result: result.outcome == "failed", history))


def find_repair(history: History) -> str | None:
    """Return the first run that passed after a break, if so few results came after it that a branch can lack it."""
    after = next((index for index, result in enumerate(history) if result.outcome == "failed"), 0)
    if 0 < after <= _REPAIRED_RESULTS and consecutive_failures(history[after:]) >= _BROKEN_RESULTS:
        return history[after - 1].run.run_id
    return None


def judge_failure(history: History, *, was_retried: bool) -> tuple[FailureChange, Evidence]:
    """Return the change of a failing result, by the history of its case on the base branch, and the evidence.

    A failure of all of several attempts (`was_retried`) is compared with final failures, and another failure with all
    bad results.
    """
    segment = find_segment(history, final_only=was_retried)
    failures, repair = consecutive_failures(history), find_repair(history)
    evidence = Evidence(
        runs=len(segment.results),
        failed=sum(1 for result in segment.results if result.outcome == "failed"),
        flaky=sum(1 for result in segment.results if result.outcome == "retried"),
        failure_rate=segment.failure_rate,
        since_run_id=segment.results[-1].run.run_id if segment.has_older else None,
        consecutive_failures=failures,
        failing_since_run_id=history[failures - 1].run.run_id if failures else None,
        last_passed_run_id=next((result.run.run_id for result in history if result.outcome != "failed"), None),
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
