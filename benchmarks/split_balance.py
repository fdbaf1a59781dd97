"""Benchmark of splits: the time of the slowest part, relative to the ideal, on histories of durations.

    python -m benchmarks.split_balance [FILE.csv …] [--suites 30] [--first-seed 1]

Budget: at most 1.10 at the 95th percentile, with the settings of the service: the 75th percentile of each item in the
newest 20 runs. Each run of a suite is planned from the runs before it, and the plan is evaluated with the durations of
this run. The ideal is the sum of all durations divided by the number of parts, or the longest item if that is longer.
The alphabetical split gives each part every n-th item.

The ideal knows the durations of the run, which vary. Therefore, the table of generated suites also has the ratio of a
plan that knows the typical duration of each file, without the variation of the run. No plan can expect to be better.

The suites are generated from seeds:

- A suite has 60 to 1,500 files. Their durations are lognormal, with a sigma from 0.8 to 1.6: in the last case, a tenth
  of the files take two thirds of the time.
- In each run, each file varies by a lognormal factor, whose sigma is 0.05, 0.1, or 0.2, and 0.1, 0.3, or 1 % of the
  files take 2 to 4 times as long: the suite is calm, usual, or noisy.
- The runs before are measured in 8 jobs, whose machines vary with a sigma of 0.1, as do the runs.
- Per run, 30 % add a file, 10 % rename one, and 10 % make one file up to 3 times as slow or fast, from then on.

Files are real histories with the columns Name, Duration, and Cycle, and perhaps BuildId, separated by semicolons, as
the data sets of RETECS and COLEMAN have them. No data is part of this repository. A run is a cycle, or a build of one.
Runs with fewer than 20 items, or shorter than 5 s, aren't split.
"""

import argparse
import csv
import math
from collections import defaultdict
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from random import Random
from typing import Final, NamedTuple

from service.splits.model import HISTORY_RUNS, plan_parts

BUDGET: Final = 1.10
QUANTILE: Final = 0.75  # of the service
TOTALS: Final = (2, 4, 8, 16, 32)
HISTORIES: Final = (1, 5, 20)
QUANTILES: Final = (0.5, 0.75, 0.9)
_RUNS: Final = 40
_EVALUATED: Final = 15  # the last runs of a generated suite
_JOBS: Final = 8
_NOISE: Final = {"calm": (0.05, 0.001), "usual": (0.1, 0.003), "noisy": (0.2, 0.01)}  # sigma, and share of slow files
_MACHINE_SIGMA: Final = 0.1
_MIN_ITEMS: Final = 20
_MIN_MS: Final = 5_000

Durations = Mapping[str, int]  # in ms, by item


class Run(NamedTuple):
    """The durations of a run as its machines measured them, on machines of equal speed, and without variation."""

    measured_ms: Durations
    actual_ms: Durations
    typical_ms: Durations


class Measured(NamedTuple):
    """The time of the slowest part relative to the ideal: of the plan, of a plan that knows typical durations, and of
    the alphabetical split."""

    total: int
    ratio: float
    informed: float
    alphabetical: float


def generate(seed: int, noise: tuple[float, float]) -> list[Run]:
    """Return the runs of a generated suite, whose files vary with this sigma, and of which this share is slow."""
    random = Random(seed)
    median_ms, sigma = random.uniform(200, 3_000), random.uniform(0.8, 1.6)

    def draw() -> float:
        return median_ms * random.lognormvariate(0, sigma)

    typical_ms = {f"tests/test_{number:04}.py": draw() for number in range(random.randint(60, 1_500))}
    runs = []
    for number in range(_RUNS):
        _change_suite(random, typical_ms, number, draw())
        actual_ms = {name: max(1, round(ms * _vary(random, *noise))) for name, ms in typical_ms.items()}
        machines = [random.lognormvariate(0, _MACHINE_SIGMA) for _ in range(_JOBS)]
        speed = random.lognormvariate(0, _MACHINE_SIGMA)
        measured_ms = {name: max(1, round(ms * speed * random.choice(machines))) for name, ms in actual_ms.items()}
        runs.append(Run(measured_ms, actual_ms, {name: round(ms) for name, ms in typical_ms.items()}))
    return runs


def _change_suite(random: Random, typical_ms: dict[str, float], number: int, added_ms: float) -> None:
    if random.random() < 0.3:
        typical_ms[f"tests/test_added_{number}.py"] = added_ms
    if random.random() < 0.1:
        name = random.choice(sorted(typical_ms))
        typical_ms[f"{name[:-3]}_renamed.py"] = typical_ms.pop(name)
    if random.random() < 0.1:
        typical_ms[random.choice(sorted(typical_ms))] *= 3 ** random.uniform(-1, 1)


def _vary(random: Random, sigma: float, slow_share: float) -> float:
    return random.lognormvariate(0, sigma) * (random.uniform(2, 4) if random.random() < slow_share else 1)


def read_history(text: str) -> list[Run]:
    """Return the runs of a real history. Durations below 1,000 on average are in seconds, others in ms."""
    by_run: dict[tuple[int, str], dict[str, float]] = defaultdict(lambda: defaultdict(float))
    for row in csv.DictReader(text.splitlines(), delimiter=";"):
        by_run[int(row["Cycle"]), row.get("BuildId") or ""][row["Name"]] += float(row["Duration"])
    values = [value for run in by_run.values() for value in run.values()]
    unit_ms = 1_000 if sum(values) / len(values) < 1_000 else 1
    durations = [{name: round(value * unit_ms) for name, value in by_run[key].items()} for key in sorted(by_run)]
    return [Run(durations_ms, durations_ms, durations_ms) for durations_ms in durations]


def expect(runs: Sequence[Run], quantile: float) -> Durations:
    """Return the quantile of the durations of each item, as the percentile_disc of PostgreSQL."""
    found: dict[str, list[int]] = defaultdict(list)
    for run in runs:
        for name, duration_ms in run.measured_ms.items():
            found[name].append(duration_ms)
    return {name: sorted(values)[max(0, math.ceil(quantile * len(values)) - 1)] for name, values in found.items()}


def measure(runs: Sequence[Run], history: int, quantile: float, evaluated: int) -> Iterator[Measured]:
    """Yield the ratios of the last runs for each number of parts."""
    for position in range(max(history, len(runs) - evaluated), len(runs)):
        actual_ms = runs[position].actual_ms
        if len(actual_ms) < _MIN_ITEMS or sum(actual_ms.values()) < _MIN_MS:
            continue
        expected_ms = expect(runs[position - history : position], quantile)
        for total in TOTALS:
            names = sorted(actual_ms)
            splits = (
                plan_parts(names, expected_ms, total).parts,
                plan_parts(names, runs[position].typical_ms, total).parts,
                [names[number::total] for number in range(total)],
            )
            ideal_ms = max(sum(actual_ms.values()) / total, max(actual_ms.values()))
            yield Measured(total, *(_slowest(parts, actual_ms) / ideal_ms for parts in splits))


def _slowest(parts: Iterable[Collection[str]], durations_ms: Durations) -> int:
    return max(sum(durations_ms[name] for name in part) for part in parts)


def percentile(values: Iterable[float], share: float) -> float:
    """Return a percentile of any values."""
    ordered = sorted(values)
    return ordered[max(0, math.ceil(share * len(ordered)) - 1)]


def print_sweep(suites: Sequence[Sequence[Run]], evaluated: int) -> None:
    """Print the ratios for each number of runs and quantile, and for each number of parts."""
    print("  runs  quantile    p50    p95    p99")
    for history in HISTORIES:
        for quantile in QUANTILES:
            found = [one.ratio for runs in suites for one in measure(runs, history, quantile, evaluated)]
            print(f"  {history:4}  {quantile:8.2f}{_format(found, 0.5, 0.95, 0.99)}")
    measured = [one for runs in suites for one in measure(runs, HISTORY_RUNS, QUANTILE, evaluated)]
    print("  parts    p50    p95  informed p50, p95  alphabetical p50, p95  gain p50")
    for total in (*TOTALS, None):
        rows = [one for one in measured if total in (one.total, None)]
        plans, informed, alphabetical = ([one[column] for one in rows] for column in (1, 2, 3))
        gains = [one.alphabetical / one.ratio for one in rows]
        print(
            f"  {total or 'all':>5}{_format(plans, 0.5, 0.95)}     {_format(informed, 0.5, 0.95)}"
            f"         {_format(alphabetical, 0.5, 0.95)}   {_format(gains, 0.5)}"
        )


def _format(values: Sequence[float], *shares: float) -> str:
    return "".join(f"{percentile(values, share):7.3f}" for share in shares)


def main() -> None:
    """Measure and print the ratios of generated and of real histories."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("files", nargs="*", type=Path, metavar="FILE.csv")
    parser.add_argument("--suites", type=int, default=20, help="of each kind; default: 20")
    parser.add_argument("--first-seed", type=int, default=1)
    arguments = parser.parse_args()
    print(f"budget: p95 at most {BUDGET}, with {HISTORY_RUNS} runs and the quantile {QUANTILE}")
    for kind, noise in _NOISE.items():
        seeds = range(arguments.first_seed, arguments.first_seed + arguments.suites)
        print(f"{arguments.suites} {kind} suites:")
        print_sweep([generate(seed, noise) for seed in seeds], _EVALUATED)
    for path in arguments.files:
        runs = read_history(path.read_text("utf-8"))
        print(f"{path.name}, {len(runs)} runs, without a plan that knows typical durations:")
        print_sweep([runs], len(runs))


if __name__ == "__main__":
    main()
