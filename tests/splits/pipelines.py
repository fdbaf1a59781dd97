"""Pipelines from seeds: the items of each commit, the parallel jobs, and what happens to each attempt of a job.

A plot contains no plan, so that different models of a client and a server execute the same one.
"""

from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from random import Random
from typing import Final, Literal

System = Literal["github", "buildkite", "none"]
Fate = Literal[
    "ok", "killed_before_split", "killed_after_split", "killed_in_tests", "killed_before_upload", "drops_item"
]
UploadFate = Literal["stored", "rejected", "lost"]

_KILLED: Final[tuple[Fate, ...]] = (
    "killed_before_split",
    "killed_after_split",
    "killed_in_tests",
    "killed_before_upload",
)
_ATTEMPTS: Final = 3
_MAX_TOTAL: Final = 6


@dataclass(frozen=True, slots=True)
class Attempt:
    """What happens to one execution of a job.

    `reaches_server` is about the request for the plan. A killed tool executes `executed_share` of its items, and its
    upload states that the results are unfinished. `is_repeated` is a retry of a job that succeeded, and `is_retried`
    one of a job that failed.
    """

    commit: int
    total_change: int
    fate: Fate
    executed_share: float
    reaches_server: bool
    upload: UploadFate
    is_repeated: bool
    is_retried: bool
    workers: int  # processes of the test tool, each of which requests the part


@dataclass(frozen=True, slots=True)
class Job:
    """One of the parallel jobs. Its keys are those of the splits of which it executes part `number`."""

    name: str
    keys: tuple[str, ...]
    number: int
    total: int
    copy: str  # of the jobs of a matrix, which execute the same items, else empty
    runner: int | None  # a workspace that other jobs use too, or None for one of its own
    attempts: tuple[Attempt, ...]


@dataclass(frozen=True, slots=True)
class Plot:
    """A pipeline. `items` has the items of each commit by the key of a split, and `durations_ms` the baseline.

    `is_strict` states whether a job fails if its upload does. `stale_total` is the total of an earlier pipeline, which
    left assignments in the shared workspaces.
    """

    seed: int
    system: System
    items: Mapping[str, Sequence[frozenset[str]]]
    durations_ms: Mapping[str, int]
    jobs: Sequence[Job]
    is_strict: bool
    stale_total: int | None


def is_executed_again(attempt: Attempt, *, succeeded: bool) -> bool:
    """Return whether a job executes this attempt after it has succeeded or failed."""
    return attempt.is_repeated if succeeded else attempt.is_retried


def create_plot(seed: int) -> Plot:
    """Return the pipeline of a seed."""
    random = Random(seed)
    keys = ("tests",) if random.random() < 0.5 else ("unit", "e2e")
    items = {key: _commits(random, key) for key in keys}
    in_baseline = {item: random.randint(1, 90_000) for of_key in items.values() for item in sorted(of_key[0])}
    durations_ms = {item: duration for item, duration in in_baseline.items() if random.random() < 0.8}
    runners = random.randint(1, 4) if random.random() < 0.5 else None
    return Plot(
        seed,
        random.choice(("github", "buildkite", "none")),
        items,
        durations_ms if random.random() < 0.7 else {},
        tuple(_jobs(random, keys, runners)),
        random.random() < 0.5,
        random.choice((1, 1, 1, 2)) if runners and random.random() < 0.7 else None,
    )


def _commits(random: Random, key: str) -> tuple[frozenset[str], frozenset[str]]:
    """Return the items of two commits. The second one renames, adds, or removes some, or nothing."""
    first = [f"tests/{key}/test_{number}.py" for number in range(random.randint(2, 24))]
    second = list(first)
    if random.random() < 0.8:
        for position in random.sample(range(len(first)), min(len(first), random.randint(1, 3))):
            second[position] = random.choice((f"{first[position][:-3]}_renamed.py", first[position]))
        second += [f"tests/{key}/test_new_{number}.py" for number in range(random.randint(0, 3))]
        if random.random() < 0.3:
            second.pop(0)
    return frozenset(first), frozenset(second)


def _jobs(random: Random, keys: Sequence[str], runners: int | None) -> Iterator[Job]:
    """Return jobs with one split each, or all splits in each job. GitHub can run both with jobs of one name."""
    outage, trouble = random.choice((0.0, 0.0, 0.0, 0.3, 0.6, 1.0)), random.choice((0.0, 0.1, 0.3))
    moves, resizes = random.random() < 0.25, random.random() < 0.25
    together, one_name = random.random() < 0.3, random.random() < 0.3
    workers = random.choice((1, 1, 1, 3))
    for group in [tuple(keys)] if together else [(key,) for key in keys]:
        total = random.randint(1, _MAX_TOTAL)
        for number in range(1, total + 1):
            attempts = [_attempt(random, outage, trouble, count, moves, resizes, workers) for count in range(_ATTEMPTS)]
            runner = random.randrange(runners) if runners else None
            yield Job("test" if one_name else group[0], group, number, total, "", runner, tuple(attempts))


def _attempt(
    random: Random, outage: float, trouble: float, retries: int, moves: bool, resizes: bool, workers: int
) -> Attempt:  # fmt: skip
    fate: Fate = "ok"
    if random.random() < trouble / (1 + 2 * retries):
        fate = random.choice((*_KILLED, "drops_item"))
    uploads: tuple[UploadFate, ...] = ("rejected", "lost")
    return Attempt(
        commit=int(bool(retries) and moves),
        total_change=random.choice((-1, 1, 2)) if retries and resizes else 0,
        fate=fate,
        executed_share=random.random(),
        reaches_server=random.random() >= outage,
        upload=random.choice(uploads) if random.random() < trouble / 3 else "stored",
        is_repeated=random.random() < 0.1,
        is_retried=random.random() < 0.9,
        workers=workers,
    )


def executed_items(part: Collection[str], attempt: Attempt, baseline: Collection[str]) -> Iterator[str]:
    """Return the items of a part that the test tool of an attempt executes.

    A tool that drops an item doesn't say so. Only an item with results in the baseline can be noticed then.
    """
    names = sorted(part)
    if attempt.fate == "killed_after_split":
        return
    executed = round(len(names) * attempt.executed_share) if attempt.fate == "killed_in_tests" else len(names)
    known = [name for name in names if name in baseline]
    dropped = known[int(attempt.executed_share * len(known))] if known and attempt.fate == "drops_item" else None
    yield from (name for name in names[:executed] if name != dropped)
