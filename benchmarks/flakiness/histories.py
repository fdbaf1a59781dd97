"""Seeded histories of test cases on one base branch, and the true state of each case after each run.

The generator was written from the design and fixed before any rule was tuned. It assumes:

- A branch has 12 runs per day by default, also at night and on weekends. 2 % of the runs have no results, 3 % are
  partial (they execute 10 to 60 % of the cases), and 8 % repeat the commit of the run before. A state changes only with
  a new commit.
- Three outages per 500 runs, the first one with two consecutive runs: 85 to 100 % of the executed cases fail. Two
  disturbances per 500 runs: 25 to 60 % fail. Such failures say nothing about the case, and its true state stays.
- A broken case fails in every attempt. A break has 1 to 60 runs, each length equally likely, and is repaired, or is
  open at the end of the history. A case can break up to three times.
- A flaky case fails in its first attempt in 2 to 50 % of the runs (log-uniform), independently of other runs and of
  other cases. Flakes exist throughout, begin, end, or also break.
- 60 % of the cases have up to 3 attempts, the others one. After a failing attempt of a flake, the next fails with
  the rate of the first one (retries are independent), with 50 % (a slow machine), or always (a wrong date).
- 70 % of the cases are in every complete run, 20 % in 95 % of these runs, and 10 % in 70 %. 5 % of the cases are
  skipped for 10 to 80 runs.
- Young cases have 5 to 100 runs. 4 % of the cases are renamed: one history ends, and another one begins in the same
  state.
- 12 % of the cases have one or two variants that are healthy. Each variant is a history of its own for all rules.

Only the base branch has results. Rules that also learn from retries on other branches know less here than in practice.
"""

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from random import Random
from typing import Final, Literal, NamedTuple

State = Literal["healthy", "flaky", "broken"]
Status = Literal["passed", "failed_finally", "flaky", "skipped", "missing"]  # flaky: passed on a retry
Kind = Literal["healthy", "repaired", "open_break", "flaky", "flake_begins", "flake_ends", "flaky_and_broken", "young"]

STATES: Final[tuple[State, ...]] = ("healthy", "flaky", "broken")
EXECUTED: Final = frozenset({"passed", "failed_finally", "flaky"})
RUNS_PER_DAY: Final = 12
MAX_ATTEMPTS: Final = 3
LONGEST_BREAK: Final = 60
_LOWEST_RATE: Final = 0.02
_HIGHEST_RATE: Final = 0.5
_SHARES: Final[dict[Kind, float]] = {
    "healthy": 0.40,
    "repaired": 0.20,
    "open_break": 0.08,
    "flaky": 0.12,
    "flake_begins": 0.06,
    "flake_ends": 0.06,
    "flaky_and_broken": 0.03,
    "young": 0.05,
}


class Outcome(NamedTuple):
    """The result of a case in a run. `attempts` is 0 if the case wasn't executed."""

    run: int
    status: Status
    attempts: int
    commit: str


class Run(NamedTuple):
    """What a rule can know about a run: its commit, its time, and how many of its cases were executed and failed."""

    number: int
    commit: str
    hours: float
    executed: int
    failed: int


@dataclass(frozen=True, slots=True, eq=False)
class History:
    """The outcomes of a case, one per run, and the runs. It contains no label."""

    case: str
    variant: str
    outcomes: tuple[Outcome, ...]
    runs: tuple[Run, ...]


class Flake(NamedTuple):
    """A case fails at first in `rate` of the runs from `begin` to before `end`, and each retry fails with `sticky`."""

    rate: float
    sticky: float
    begin: int
    end: int


class Span(NamedTuple):
    """The runs from `begin` to before `end`."""

    begin: int
    end: int


_ALWAYS: Final = Span(0, 1_000_000)
_NEVER: Final = Span(0, 0)


@dataclass(frozen=True, slots=True)
class Behavior:
    """What a case really does: the label of its history."""

    kind: Kind
    max_attempts: int
    flake: Flake | None = None
    breaks: tuple[Span, ...] = ()
    exists: Span = _ALWAYS
    skipped: Span = _NEVER
    executed_share: float = 1.0

    def state(self, run: int) -> State:
        """Return the true state after a run."""
        if any(span.begin <= run < span.end for span in self.breaks):
            return "broken"
        return "flaky" if self.flake and self.flake.begin <= run < self.flake.end else "healthy"

    @property
    def final_failure_rate(self) -> float:
        """The share of runs in which the flake fails in all attempts."""
        return self.flake.rate * self.flake.sticky ** (self.max_attempts - 1) if self.flake else 0.0


@dataclass(frozen=True, slots=True)
class LabeledCase:
    """A history, and the true state of its case after each run, which is None while the case doesn't exist."""

    history: History
    truth: tuple[State | None, ...]
    behavior: Behavior


class _PlannedRun(NamedTuple):
    commit: str
    is_missing: bool
    cases: Span  # in thousandths of the suite: a partial run executes neighboring cases
    failing_share: float  # of an outage or disturbance, else 0


@dataclass(frozen=True, slots=True)
class Branch:
    """A base branch with all of its cases. `outages` are labels: a rule finds outages by the counts of `runs`."""

    runs: tuple[Run, ...]
    cases: tuple[LabeledCase, ...]
    outages: tuple[Span, ...]
    ten_percent_flakes: tuple[LabeledCase, ...]


def generate(
    seed: int, cases: int = 1_000, runs: int = 500, ten_percent_flakes: int = 200, runs_per_day: float = RUNS_PER_DAY
) -> Branch:
    """Return a branch with this number of histories. `ten_percent_flakes` more begin to fail in 10 % of the runs."""
    plan, outages = _plan_runs(Random(f"{seed}/runs"), runs)
    behaviors = _choose_behaviors(Random(f"{seed}/cases"), cases, plan)
    outcomes = [
        _generate_outcomes(Random(f"{seed}/case/{name}"), behavior, plan, place=1_000 * number // cases)
        for number, (name, _, behavior) in enumerate(behaviors)
    ]
    facts = tuple(
        _count_run(number, 24 * number / runs_per_day, plan[number].commit, [of_case[number] for of_case in outcomes])
        for number in range(runs)
    )
    labeled = (
        _label(name, variant, behavior, of_case, facts)
        for (name, variant, behavior), of_case in zip(behaviors, outcomes, strict=True)
    )
    return Branch(facts, tuple(labeled), outages, tuple(_ten_percent_flakes(seed, ten_percent_flakes, plan, facts)))


def _plan_runs(random: Random, runs: int) -> tuple[list[_PlannedRun], tuple[Span, ...]]:
    count = max(1, round(runs * 3 / 500))
    positions = sorted(random.sample(range(20, runs - 10), count))
    outages = [Span(position, position + (2 if number == 0 else 1)) for number, position in enumerate(positions)]
    failing = {run: random.uniform(0.85, 1.0) for span in outages for run in range(*span)}
    for run in random.sample(range(20, runs), max(1, round(runs * 2 / 500))):
        failing.setdefault(run, random.uniform(0.25, 0.6))
    plan: list[_PlannedRun] = []
    for run in range(runs):
        commit = plan[-1].commit if plan and random.random() < 0.08 else f"c{run:04}"
        kind = 1.0 if run in failing else random.random()
        size = random.randint(100, 600)
        begin = random.randint(0, 1_000 - size)
        cases = Span(begin, begin + size) if 0.02 <= kind < 0.05 else Span(0, 1_000)
        plan.append(_PlannedRun(commit, kind < 0.02, cases, failing.get(run, 0.0)))
    return plan, _joined(outages)


def _joined(spans: Sequence[Span]) -> tuple[Span, ...]:
    """Return the spans, of which neighbors are one. For example, 4 to 6 and 6 to 7 are 4 to 7."""
    joined: list[Span] = []
    for span in spans:
        if joined and span.begin <= joined[-1].end:
            joined[-1] = Span(joined[-1].begin, max(span.end, joined[-1].end))
        else:
            joined.append(span)
    return tuple(joined)


def _choose_behaviors(random: Random, cases: int, plan: Sequence[_PlannedRun]) -> list[tuple[str, str, Behavior]]:
    chosen: list[tuple[str, str, Behavior]] = []
    while len(chosen) < cases:
        name = f"case-{len(chosen):04}"
        kind = random.choices(list(_SHARES), list(_SHARES.values()))[0]
        behavior = _choose_behavior(random, kind, plan)
        if kind != "young" and random.random() < 0.04:
            renamed = _change_of_commit(plan, random.randint(len(plan) // 5, len(plan) * 9 // 10))
            chosen.append((name, "", replace(behavior, exists=Span(0, renamed))))
            chosen.append((f"{name}-renamed", "", replace(behavior, exists=Span(renamed, len(plan)))))
        elif random.random() < 0.12:
            chosen.append((name, "os: linux", behavior))
            for variant in ("os: windows", "os: macos")[: random.randint(1, 2)]:
                sibling = _choose_behavior(random, "healthy", plan)
                chosen.append((name, variant, sibling))
        else:
            chosen.append((name, "", behavior))
    return chosen[:cases]


def _choose_behavior(random: Random, kind: Kind, plan: Sequence[_PlannedRun]) -> Behavior:
    runs = len(plan)
    max_attempts = MAX_ATTEMPTS if random.random() < 0.6 else 1
    executed_share = random.choices([1.0, 0.95, 0.7], [0.7, 0.2, 0.1])[0]
    skipped_from = random.randint(0, runs - 1) if random.random() < 0.05 else runs
    skipped = Span(skipped_from, skipped_from + random.randint(10, 80))
    exists = Span(0, runs)
    flake: Flake | None = None
    breaks: tuple[Span, ...] = ()
    changed = _change_of_commit(plan, random.randint(runs // 10, runs * 98 // 100))
    match kind:
        case "repaired":
            breaks = tuple(_repaired_break(random, plan) for _ in range(random.choice((1, 1, 2, 3))))
        case "open_break":
            breaks = (_open_break(random, plan),)
        case "flaky":
            flake = _choose_flake(random, Span(0, runs))
        case "flake_begins":
            flake = _choose_flake(random, Span(changed, runs))
        case "flake_ends":
            flake = _choose_flake(random, Span(0, changed))
        case "flaky_and_broken":
            flake = _choose_flake(random, Span(0, runs))
            breaks = (_open_break(random, plan) if random.random() < 0.5 else _repaired_break(random, plan),)
        case "young":
            begin = runs - random.randint(5, min(100, runs // 2))
            exists, skipped = Span(begin, runs), _NEVER
            match random.randrange(3):
                case 0:
                    flake = _choose_flake(random, Span(0, runs))
                case 1:
                    breaks = (Span(_change_of_commit(plan, random.randint(begin, runs - 3)), runs),)
        case "healthy":
            pass
    return Behavior(kind, max_attempts, flake, breaks, exists, skipped, executed_share)


def _choose_flake(random: Random, span: Span, rate: float | None = None) -> Flake:
    chosen = rate or math.exp(random.uniform(math.log(_LOWEST_RATE), math.log(_HIGHEST_RATE)))
    return Flake(chosen, random.choices([chosen, 0.5, 1.0], [0.5, 0.3, 0.2])[0], *span)


def _repaired_break(random: Random, plan: Sequence[_PlannedRun]) -> Span:
    length = random.randint(1, min(LONGEST_BREAK, len(plan) // 3))
    begin = _change_of_commit(plan, random.randint(10, len(plan) - length - 1))
    end = begin + length
    while end < len(plan) and plan[end].commit == plan[end - 1].commit:
        end += 1
    return Span(begin, end)


def _open_break(random: Random, plan: Sequence[_PlannedRun]) -> Span:
    begin = len(plan) - random.randint(1, min(LONGEST_BREAK, len(plan) // 3))
    return Span(_change_of_commit(plan, begin), len(plan))


def _change_of_commit(plan: Sequence[_PlannedRun], run: int) -> int:
    """Return the newest run, at or before `run`, that has a new commit."""
    while run and run < len(plan) and plan[run].commit == plan[run - 1].commit:
        run -= 1
    return run


def _generate_outcomes(
    random: Random, behavior: Behavior, plan: Sequence[_PlannedRun], place: int
) -> tuple[Outcome, ...]:
    return tuple(
        Outcome(index, *_generate_outcome(random, behavior, index, run, place), run.commit)
        for index, run in enumerate(plan)
    )


def _generate_outcome(
    random: Random, behavior: Behavior, index: int, run: _PlannedRun, place: int
) -> tuple[Status, int]:
    # Every run needs the same random numbers, so that a change of one behavior changes no other run.
    executed, disturbed, *attempts = (random.random() for _ in range(2 + MAX_ATTEMPTS))
    exists = behavior.exists.begin <= index < behavior.exists.end
    if run.is_missing or not exists or not run.cases.begin <= place < run.cases.end:
        return "missing", 0
    if executed >= behavior.executed_share:
        return "missing", 0
    if behavior.skipped.begin <= index < behavior.skipped.end:
        return "skipped", 0
    state = behavior.state(index)
    if state == "broken" or disturbed < run.failing_share:
        return "failed_finally", behavior.max_attempts
    if state == "healthy" or behavior.flake is None or attempts[0] >= behavior.flake.rate:
        return "passed", 1
    for attempt in range(2, behavior.max_attempts + 1):
        if attempts[attempt - 1] >= behavior.flake.sticky:
            return "flaky", attempt
    return "failed_finally", behavior.max_attempts


def _count_run(number: int, hours: float, commit: str, outcomes: Sequence[Outcome]) -> Run:
    executed = sum(1 for outcome in outcomes if outcome.status in EXECUTED)
    failed = sum(1 for outcome in outcomes if outcome.status == "failed_finally")
    return Run(number, commit, hours, executed, failed)


def _label(
    name: str, variant: str, behavior: Behavior, outcomes: tuple[Outcome, ...], runs: tuple[Run, ...]
) -> LabeledCase:
    truth = (
        behavior.state(run) if behavior.exists.begin <= run < behavior.exists.end else None for run in range(len(runs))
    )
    return LabeledCase(History(name, variant, outcomes, runs), tuple(truth), behavior)


def _ten_percent_flakes(
    seed: int, count: int, plan: Sequence[_PlannedRun], runs: tuple[Run, ...]
) -> Iterator[LabeledCase]:
    for number in range(count):
        random = Random(f"{seed}/flake/{number}")
        begin = _change_of_commit(plan, random.randint(len(plan) // 5, len(plan) // 2))
        flake = _choose_flake(random, Span(begin, len(plan)), rate=0.1)
        behavior = Behavior("flake_begins", MAX_ATTEMPTS if random.random() < 0.6 else 1, flake)
        place = 1_000 * number // count
        yield _label(f"flake-{number}", "", behavior, _generate_outcomes(random, behavior, plan, place), runs)
