"""The state of a case, the rule that follows from its history, and the runs from which states are judged."""

from collections.abc import Collection, Mapping, Sequence
from typing import Final, NamedTuple

from service.domain.ids import CaseKey
from service.domain.statuses import STATE_VALUES, StateValue
from service.evidence.model import (
    MAX_HISTORY,
    NOT_EXECUTED,
    History,
    KnownScores,
    Outcome,
    consecutive_failures,
    estimate_rate,
    find_first_failure,
    find_last_passed,
    find_segment,
)

MIN_RUNS: Final = 500  # of the default branch and an environment from which states are judged, if there are so many
MAX_RUNS: Final = MAX_HISTORY
_ANCHOR_BITS: Final = 63  # of a run key, a hash: one of 64 runs is an anchor
_OLD_RESULTS: Final = 20
_BROKEN_RESULTS: Final = 2  # final failures in a row of a case with at least _OLD_RESULTS earlier results
_BROKEN_YOUNG_RESULTS: Final = 3
_BROKEN_SHARE: Final = 0.8  # of final failures in a segment that one cause explains, in spite of several episodes


class JudgedState(NamedTuple):
    """The state that a history implies, with the number of results in the newest segment.

    `stable_passes` is the number of further passed results, of other commits, that certainly leave the state.
    """

    value: StateValue
    results: int
    stable_passes: int


def judge_state(history: History, known: KnownScores | None = None) -> JudgedState:
    """Return the state that the newest segment and the newest failures of a case imply.

    A case is broken if its newest results are final failures, at least 2 after at least 20 other results, or else 3,
    and if the newest segment has at most one episode, or more than 80 % final failures: a break with a short repair.
    It is flaky if the newest segment has at least 2 episodes in at least 1 % of its results.
    """
    segment, failures = find_segment(history, final_only=False, known=known), consecutive_failures(history.outcomes)
    is_old = len(history.outcomes) - history.outcomes.count(NOT_EXECUTED) - failures >= _OLD_RESULTS
    is_break = segment.episodes <= 1 or segment.history.outcomes.count("f") > _BROKEN_SHARE * segment.results
    if is_break and failures >= (_BROKEN_RESULTS if is_old else _BROKEN_YOUNG_RESULTS):
        return JudgedState("broken", segment.results, 0)
    if not segment.is_unreliable:
        return JudgedState("healthy", segment.results, segment.stable_passes)
    return JudgedState("flaky", segment.results, min(segment.stable_passes, segment.unreliable_passes))


class StateDetails(NamedTuple):
    """An unhealthy state with its newest segment. `since` and `last_passed` are positions in its history, or None.

    `since` is the first of the final failures of a broken case, or the first result of the newest segment of a flaky
    one, if the history contains an older segment. `last_passed` is the newest result that isn't a final failure.
    """

    value: StateValue
    since: int | None
    last_passed: int | None
    runs: int
    failed: int
    flaky: int
    failure_rate: float | None


def describe_state(history: History, value: StateValue, results: int) -> StateDetails:
    """Return the details of the state of a history. `results` is the number of results in the newest segment."""
    newest = history.newest(results)
    failed, flaky = newest.outcomes.count("f"), newest.outcomes.count("r")
    return StateDetails(
        value,
        find_first_failure(history.outcomes) if value == "broken" else history.begin_of(newest),
        find_last_passed(history.outcomes),
        results,
        failed,
        flaky,
        estimate_rate(failed + flaky, results),
    )


def count_runs(run_keys: Sequence[str]) -> int | None:
    """Return how many of these runs, newest first, are the window of states. None: all of them, and older ones.

    The window has at least `MIN_RUNS` runs, if there are so many, and begins with an anchor: a run that its key
    selects. So it grows with each run and then shrinks by several, instead of moving by one, and the scores of older
    results can be used again.
    """
    for count in range(MIN_RUNS, min(len(run_keys), MAX_RUNS) + 1):
        if int(run_keys[count - 1][-2:], 16) & _ANCHOR_BITS == 0:
            return count
    return MAX_RUNS if len(run_keys) >= MAX_RUNS else None


BadResults = Mapping[CaseKey, Outcome]


class HistoryRun(NamedTuple):
    """A run of the default branch. `run_key` has 32 hex digits. An outage executed no case as far as states know."""

    run_key: str
    revision: int
    commit_sha: str | None
    is_mass_failure: bool
    is_outage: bool


class HistoryPlace(NamedTuple):
    """The project and environment of histories. Without an environment, it is empty."""

    project_id: str
    environment: str


class StateChange(NamedTuple):
    """A case whose state in one environment changed."""

    case_key: CaseKey
    before: StateValue
    now: StateValue


class ShownState(NamedTuple):
    """The shown state of a case: the worst one of its environments, and among equal ones that of the newest run.

    See `StateDetails`. A run is None if it isn't in the window. `first_commit` is the commit of the run
    `since_run_id`, `since_ms` its completion time, and `last_good_commit` the commit of the run `last_passed_run_id`.
    """

    value: StateValue = "healthy"
    environment: str | None = None
    since_run_id: str | None = None
    last_passed_run_id: str | None = None
    first_commit: str | None = None
    last_good_commit: str | None = None
    runs: int | None = None
    failed: int | None = None
    flaky: int | None = None
    failure_rate: float | None = None
    since_ms: int | None = None


class ShownChange(NamedTuple):
    """A case whose shown state changed: the worst of its states in all environments."""

    case_key: CaseKey
    before: StateValue
    now: StateValue


def find_changes(before: Mapping[CaseKey, StateValue], now: Mapping[CaseKey, StateValue]) -> list[StateChange]:
    """Return the cases whose states in one environment differ. A missing case is healthy."""
    cases = {case for case, _ in before.items() ^ now.items()}
    return [StateChange(case, before.get(case, "healthy"), now.get(case, "healthy")) for case in sorted(cases)]


def find_shown_changes(
    changes: Sequence[StateChange], others: Mapping[CaseKey, Collection[StateValue]]
) -> list[ShownChange]:
    """Return the changes of shown states. `others` are the states of the cases in their other environments."""
    shown = [
        ShownChange(case, _worst([*others.get(case, ()), before]), _worst([*others.get(case, ()), now]))
        for case, before, now in changes
    ]
    return [change for change in shown if change.before != change.now]


def _worst(values: Collection[StateValue]) -> StateValue:
    return max(values, key=STATE_VALUES.index)
