"""Apply the rules to real histories: what do they say about each failure, and what happened next?

    python -m benchmarks.flakiness.real FILE.csv …

No data is part of this repository. A file has one result per row, separated by semicolons, with the columns of the data
sets of RETECS and COLEMAN: the name of the case, the outcome, the cycle, a time, and perhaps the build. A run is a
cycle, or a build of one. A case fails in a run if one of its results does.

The histories have no labels, and no attempts, commits, and branches. So each run counts as a commit of its own, and
rules that need retries find no flake. Each failure is judged by the runs before it, as if it were one of a pull
request, if the case was executed in at least 20 of them and in a later one. What happened next is a hint, not a label:
a new failure that passes in the next run can be a flake, or a regression that was repaired or exists on one branch.
"""

import csv
import sys
from collections import Counter, defaultdict
from collections.abc import Iterator
from datetime import datetime
from pathlib import Path
from typing import Final, NamedTuple

from benchmarks.flakiness.histories import EXECUTED, STATES, History, Outcome, Run, Status
from benchmarks.flakiness.ours import CurrentRules, OldRules
from benchmarks.flakiness.pulls import Cause, Failure
from benchmarks.flakiness.rules import Rule
from benchmarks.flakiness.vendors import vendor_rules

_OUTCOME: Final = "Verdict"  # codespell:ignore verdict - the name of the column; 1 means failed
_OLD_RESULTS: Final = 20
_CAUSES: Final[tuple[Cause, ...]] = ("new", "flaky", "known")


class RealFailure(NamedTuple):
    """A failure after the run at `position`, and whether the next result of the case failed, too."""

    history: History
    position: int
    failed_next: bool


def read_histories(text: str) -> list[History]:
    """Return the history of each case in a file. The runs are in the order of their times."""
    failed_by_run: dict[tuple[str, str], dict[str, bool]] = defaultdict(dict)
    times: dict[tuple[str, str], datetime] = {}
    for row in csv.DictReader(text.splitlines(), delimiter=";"):
        key, name = (row["Cycle"], row.get("BuildId") or ""), row["Name"]
        failed_by_run[key][name] = failed_by_run[key].get(name, False) or row[_OUTCOME] == "1"
        time = datetime.fromisoformat(row["LastRun"])
        times[key] = max(time, times.get(key, time))
    ordered = sorted(failed_by_run, key=lambda key: (times[key], int(key[0])))
    hours = [(times[key] - times[ordered[0]]).total_seconds() / 3600 for key in ordered]
    by_run = [failed_by_run[key] for key in ordered]
    runs = tuple(
        Run(number, f"c{number}", hours[number], len(of_run), sum(of_run.values()))
        for number, of_run in enumerate(by_run)
    )
    statuses: dict[bool | None, Status] = {None: "missing", False: "passed", True: "failed_finally"}
    return [
        History(
            name,
            "",
            tuple(
                Outcome(run.number, statuses[of_run.get(name)], int(name in of_run), run.commit)
                for run, of_run in zip(runs, by_run, strict=True)
            ),
            runs,
        )
        for name in sorted(set().union(*by_run))
    ]


def find_failures(history: History) -> Iterator[RealFailure]:
    """Yield the failures with enough earlier results and a later one."""
    executed = [outcome for outcome in history.outcomes if outcome.status in EXECUTED]
    for index in range(_OLD_RESULTS, len(executed) - 1):
        if executed[index].status == "failed_finally":
            yield RealFailure(history, executed[index].run - 1, executed[index + 1].status == "failed_finally")


def describe(rule: Rule, histories: list[History], failures: list[RealFailure]) -> list[str]:
    """Return the cells of a rule: the states after the last run, and each cause with the failures that failed next."""
    states = Counter(rule.state_at(history, len(history.runs) - 1) for history in histories)
    judged, failed_next = Counter[Cause](), Counter[Cause]()
    for failure in failures:
        cause = rule.cause_of(failure.history, Failure(failure.position, attempts=1))
        judged[cause] += 1
        failed_next[cause] += failure.failed_next
    cells = [" · ".join(str(states[state]) for state in STATES)]
    return [rule.name, *cells, *(f"{judged[cause]} ({failed_next[cause]})" for cause in _CAUSES)]


def main() -> None:
    """Print a table per file."""
    for path in map(Path, sys.argv[1:]):
        histories = read_histories(path.read_text(encoding="utf-8"))
        failures = [failure for history in histories for failure in find_failures(history)]
        print(f"\n{path.stem}: {len(histories)} cases, {len(histories[0].runs)} runs, {len(failures)} failures\n")
        print("| rule | healthy · flaky · broken | new (failed next) | flaky (failed next) | known (failed next) |")
        print("| --- | --- | --- | --- | --- |")
        for rule in (CurrentRules(), OldRules(), *vendor_rules()):
            print(f"| {' | '.join(describe(rule, histories, failures))} |")


if __name__ == "__main__":
    main()
