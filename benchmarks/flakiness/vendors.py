"""The published rules of five products, written from their public documentation.

Each class names its source with the date of the page or file. Where the documentation leaves a value open, the comment
states the chosen value and the reason. Three readings hold for all of them:

- A result is one execution that failed only if it failed finally, unless the source counts attempts.
- A pass and a failure on one commit are a result that passed on a retry, or different results of runs of one commit.
- Time is the time of the run. A rule is evaluated after every run, also where the source evaluates once a day.
"""

import math
from abc import abstractmethod
from collections import defaultdict, deque
from collections.abc import Iterator, Sequence
from functools import cache
from itertools import pairwise
from typing import ClassVar, Final

from benchmarks.flakiness.histories import EXECUTED, History, Outcome, Run, State
from benchmarks.flakiness.pulls import Cause, Failure
from benchmarks.flakiness.rules import Rule, executed_until

_DAY: Final = 24.0  # hours


class _ReplayedRule(Rule):
    """A rule with a memory, such as a monitor with an alarm and a recovery. Each history is replayed once."""

    def __init__(self) -> None:
        self._replayed: dict[History, tuple[State, ...]] = {}

    def state_at(self, history: History, position: int) -> State:
        """Return the state after the run at this position."""
        if history not in self._replayed:
            self._replayed[history] = tuple(self.replay(history))
        return self._replayed[history][position]

    @abstractmethod
    def replay(self, history: History) -> Iterator[State]:
        """Yield the state after each run, and use only this run and earlier ones."""


class _Commits:
    """Finds commits on which a case both passed and failed."""

    def __init__(self) -> None:
        self._seen: dict[str, set[bool]] = defaultdict(set)

    def add(self, outcome: Outcome) -> bool:
        """Return whether the case has now passed and failed on the commit of this executed outcome."""
        seen = self._seen[outcome.commit]
        seen |= {True, False} if outcome.status == "flaky" else {outcome.status == "passed"}
        return len(seen) == 2


class Luci(Rule):
    """LUCI Analysis: changepoints for the state, and the stability criteria of exonerations for the cause.

    Source: https://chromium.googlesource.com/infra/luci/luci-go, `analysis/internal/changepoints/analyzer/analyzer.go`
    and `bayesian/bayesian.go` (2025-09-30), `analysis/proto/v1/test_variants.proto` (2026-07-22),
    `analysis/internal/testresults/stability/query_stability.go` (2026-02-08) with the thresholds that the comments in
    the `.proto` file call good starting values, and `milo/ui/src/common/components/segment_tooltip/util.ts`
    (2026-08-04), which names a segment by its rate of unexpected results: passed (up to 5 %), flaky, or failed (from
    95 % on).

    Open: a flaky source needs different runs of one commit. A retry inside one invocation isn't one, but a retried
    task is. Taken: all retries count, because the base branch of the benchmark has hardly any other evidence. LUCI has
    no automatic quarantine.
    """

    name = "LUCI Analysis"
    quarantined: ClassVar[frozenset[State] | None] = None
    _CHANGEPOINT: ClassVar[float] = math.log(0.0001)
    _PASSED: ClassVar[float] = 0.05
    _FAILED: ClassVar[float] = 0.95
    _FLAKES: ClassVar[int] = 2
    _FLAKE_RATE: ClassVar[float] = 0.01
    _MIN_WINDOW: ClassVar[int] = 100  # commits: with fewer in 7 days, 14 days count
    _CONSECUTIVE: ClassVar[int] = 3
    _FAILURES: ClassVar[int] = 6
    _RUNS: ClassVar[int] = 10

    def state_at(self, history: History, position: int) -> State:
        """Return what the newest segment of the results says."""
        newest = self._newest_segment(executed_until(history, position))
        results = sum(outcome.attempts for outcome in newest)
        unexpected = results - sum(1 for outcome in newest if outcome.status != "failed_finally")
        if unexpected <= self._PASSED * results:
            return "healthy"
        return "flaky" if unexpected < self._FAILED * results else "broken"

    def cause_of(self, history: History, failure: Failure) -> Cause:
        """Return *known* for the criteria of the failure rate, *flaky* for the flake rate: both exonerate."""
        now = history.runs[failure.position].hours
        recent = [
            outcome
            for outcome in executed_until(history, failure.position)
            if history.runs[outcome.run].hours > now - 14 * _DAY
        ]
        failures = [outcome.status == "failed_finally" for outcome in recent[-self._RUNS :]]
        if sum(failures) >= self._FAILURES or (
            len(failures) >= self._CONSECUTIVE and all(failures[-self._CONSECUTIVE :])
        ):
            return "known"
        week = [outcome for outcome in recent if history.runs[outcome.run].hours > now - 7 * _DAY]
        flakes, commits = self._count_commits(week)
        if commits < self._MIN_WINDOW:
            flakes, commits = self._count_commits(recent)
        return "flaky" if flakes >= self._FLAKES and flakes >= self._FLAKE_RATE * commits else "new"

    @staticmethod
    def _count_commits(outcomes: Sequence[Outcome]) -> tuple[int, int]:
        """Return the number of commits on which the case both passed and failed, and of all commits."""
        commits = _Commits()
        flaky = {outcome.commit for outcome in outcomes if commits.add(outcome)}
        return len(flaky), len({outcome.commit for outcome in outcomes})

    def _newest_segment(self, outcomes: Sequence[Outcome]) -> Sequence[Outcome]:
        """Split the outcomes at the best changepoint, and then its right part, until none is likely enough."""
        counts = [(0, 0, 0)]  # bad, retried after a failure, and failed in all attempts
        for outcome in outcomes:
            bad, retried, final = counts[-1]
            has_failed = outcome.status != "passed"
            is_retried = has_failed and outcome.attempts > 1
            is_final = is_retried and outcome.status == "failed_finally"
            counts.append((bad + has_failed, retried + is_retried, final + is_final))
        possible = [
            index
            for index in range(1, len(outcomes))
            if outcomes[index].status != outcomes[index - 1].status
            and outcomes[index].commit != outcomes[index - 1].commit
        ]
        begin, end = 0, len(outcomes)
        while True:
            whole = _segment_likelihood(counts, begin, end)
            best, at = max(
                (
                    (_segment_likelihood(counts, begin, index) + _segment_likelihood(counts, index, end), index)
                    for index in possible
                    if index > begin
                ),
                default=(-math.inf, begin),
            )
            if best - whole + self._CHANGEPOINT <= 0:
                return outcomes[begin:]
            begin = at


def _segment_likelihood(counts: Sequence[tuple[int, int, int]], begin: int, end: int) -> float:
    bad, retried, final = (after - before for before, after in zip(counts[begin], counts[end], strict=True))
    return _likelihood(bad, end - begin, 0.3) + _likelihood(final, retried, 0.5)


@cache
def _likelihood(events: int, count: int, alpha: float, beta: float = 0.5) -> float:
    """Return the logarithm of the likelihood of a sequence with a rate from a beta distribution."""
    prior = math.lgamma(alpha + beta) - math.lgamma(alpha) - math.lgamma(beta)
    return prior + math.lgamma(events + alpha) + math.lgamma(count - events + beta) - math.lgamma(count + alpha + beta)


class _FailureRate:
    """A failure rate monitor of Trunk: active from one rate on, and resolved below another one."""

    def __init__(self, activation: float, resolution: float, hours: float, min_sample: int) -> None:
        self._activation, self._resolution = activation, resolution
        self._hours, self._min_sample = hours, min_sample
        self._results: deque[tuple[float, bool]] = deque()
        self.is_active = False

    def add(self, now: float, failed: bool) -> None:
        self._results.append((now, failed))

    def evaluate(self, now: float) -> None:
        while self._results and self._results[0][0] <= now - self._hours:
            self._results.popleft()
        if len(self._results) >= self._min_sample:
            rate = sum(failed for _, failed in self._results) / len(self._results)
            self.is_active = rate >= (self._resolution if self.is_active else self._activation)


class Trunk(_ReplayedRule):
    """Trunk Flaky Tests: monitors of retries and of failure rates, without runs in which over 80 % failed.

    Source: https://docs.trunk.io/flaky-tests/detection (2026-05-14), `pass-on-retry-monitor`, `failure-rate-monitor`,
    and `infrastructure-failure-protection` (2026-05-08). Only tests with the status *flaky* are quarantined
    automatically (https://docs.trunk.io/flaky-tests/quarantining, 2026-05-08).

    Pass on retry is active by default, for 7 days after the last event. Failure rates have no default. Taken are the
    recommended ones for a main branch: *flaky* from 10 % to below 5 % in 72 hours with at least 20 runs; *broken* from
    80 % to below 60 % in 6 hours. Open: the minimum for *broken*, here 3, because 6 hours have 3 runs; the page
    recommends a lower minimum where tests run a few times per day. The failure count monitor is an
    alternative with a default of one failure, and isn't part of the recommended pair.
    Infrastructure failure protection is optional, and on here with its default of 80 %.
    """

    name = "Trunk Flaky Tests"

    def replay(self, history: History) -> Iterator[State]:
        """Yield the most severe status of the active monitors after each run."""
        commits, last_retry = _Commits(), -math.inf
        flaky = _FailureRate(activation=0.1, resolution=0.05, hours=72.0, min_sample=20)
        broken = _FailureRate(activation=0.8, resolution=0.6, hours=6.0, min_sample=3)
        for outcome, run in zip(history.outcomes, history.runs, strict=True):
            if outcome.status in EXECUTED and not self._is_excluded(run):
                if commits.add(outcome):
                    last_retry = run.hours
                flaky.add(run.hours, outcome.status == "failed_finally")
                broken.add(run.hours, outcome.status == "failed_finally")
            flaky.evaluate(run.hours)
            broken.evaluate(run.hours)
            is_flaky = flaky.is_active or run.hours - last_retry < 7 * _DAY
            yield "broken" if broken.is_active else "flaky" if is_flaky else "healthy"

    @staticmethod
    def _is_excluded(run: Run) -> bool:
        return run.failed > 0.8 * run.executed


class Buildkite(_ReplayedRule):
    """Buildkite Test Engine: the monitors *transition count* and *passed on retry*; either one labels a test as flaky.

    Source: https://buildkite.com/docs/pipelines/configure/tests/workflows/monitors (2026-06-03) and
    https://buildkite.com/docs/apis/rest-api/test-engine/workflows (read 2026-12-01). There is no broken state: a test
    that always fails has no transitions.

    *Passed on retry* exists by default: it recovers after 7 days or 100 executions without an event, whichever is
    first. *Transition count* is the recommended one; its window and thresholds have no documented default. Taken: the
    example of the API, which labels tests as flaky: 100 executions, alarm above 0.1, recovery at 0.05. Retries are
    executions. The page doesn't contain the formula of the probabilistic monitor (Enterprise).
    """

    name = "Buildkite Test Engine"
    _WINDOW: ClassVar[int] = 100

    def replay(self, history: History) -> Iterator[State]:
        """Yield whether one of the monitors has an alarm after each run."""
        commits, last_retry, executions_since = _Commits(), -math.inf, 0
        window: deque[bool] = deque(maxlen=self._WINDOW)
        has_transitions = False
        for outcome, run in zip(history.outcomes, history.runs, strict=True):
            if outcome.status in EXECUTED:
                passed = outcome.status != "failed_finally"
                attempts = [False] * (outcome.attempts - passed) + [True] * passed
                window.extend(attempts)
                executions_since += len(attempts)
                if commits.add(outcome):
                    last_retry, executions_since = run.hours, 0
                has_transitions = self._score(window) > (0.05 if has_transitions else 0.1)
            was_retried = run.hours - last_retry < 7 * _DAY and executions_since < 100
            yield "flaky" if has_transitions or was_retried else "healthy"

    def _score(self, window: Sequence[bool]) -> float:
        executions = list(window)
        return sum(one != other for one, other in pairwise(executions)) / self._WINDOW


class Datadog(_ReplayedRule):
    """Datadog Test Optimization: flaky if a test passed and failed on one commit, until 30 days without flakes.

    Source: https://docs.datadoghq.com/tests/flaky_tests/ and https://docs.datadoghq.com/tests/flaky_management/, read
    2026-12-01 as commits 11a73e8 and 21b6fb8 of https://github.com/DataDog/documentation. *Broken* is a flaky test
    whose executions of the last 7 days all failed: it isn't moved to *fixed*, and stays quarantined. A broken test that
    never flaked isn't in the table, and therefore healthy here.

    Open: the rules of the automatic quarantine (time, branch, failure rate) are settings. Taken: by branch, which
    quarantines a test that flakes on the default branch. The cause is the tag *known flaky*.
    """

    name = "Datadog Test Optimization"
    quarantined: ClassVar[frozenset[State] | None] = frozenset({"flaky", "broken"})

    def replay(self, history: History) -> Iterator[State]:
        """Yield whether the test is in the table of flaky tests, and whether all its recent executions failed."""
        commits, last_flake, is_known = _Commits(), -math.inf, False
        week: deque[tuple[float, bool]] = deque()
        for outcome, run in zip(history.outcomes, history.runs, strict=True):
            if outcome.status in EXECUTED:
                week.append((run.hours, outcome.status == "failed_finally"))
                if commits.add(outcome):
                    last_flake, is_known = run.hours, True
            while week and week[0][0] <= run.hours - 7 * _DAY:
                week.popleft()
            only_failed = bool(week) and all(failed for _, failed in week)
            is_known = is_known and (only_failed or run.hours - last_flake < 30 * _DAY)
            yield "healthy" if not is_known else "broken" if only_failed else "flaky"

    def cause_of(self, history: History, failure: Failure) -> Cause:
        """Return *flaky* for each test in the table: the tag makes no difference for a broken one."""
        return "new" if self.state_at(history, failure.position) == "healthy" else "flaky"


class Harness(_ReplayedRule):
    """Harness Test Management: flaky if a test passed and failed on one commit in 14 days, until 5 passes in a row.

    Source: https://developer.harness.io/docs/continuous-integration/use-ci/run-tests/test-management/ci-flaky-tests and
    `ci-test-policies`, read 2026-12-01 as commits e5aa524 and 978eaf3 of https://github.com/harness/developer-hub.
    There is no broken state. The documented policy that quarantines flaky tests is `test is flaky` and `test failed`.

    Open: a quarantine ends by hand or by another policy. Taken: it ends with the state.
    """

    name = "Harness Test Management"

    def replay(self, history: History) -> Iterator[State]:
        """Yield whether the test has the badge after each run."""
        commits, last_flake, passes = _Commits(), -math.inf, 0
        for outcome, run in zip(history.outcomes, history.runs, strict=True):
            if outcome.status in EXECUTED:
                passes = passes + 1 if outcome.status == "passed" else 0
                if commits.add(outcome):
                    last_flake, passes = run.hours, 0
                elif passes >= 5:
                    last_flake = -math.inf
            yield "flaky" if run.hours - last_flake <= 14 * _DAY else "healthy"


def vendor_rules() -> list[Rule]:
    """Return one new instance of each rule."""
    return [Luci(), Trunk(), Buildkite(), Datadog(), Harness()]
